"""The command that prints the paper's tables and evaluates checkpoints for them."""

import csv
import io
import sys
from pathlib import Path

import pytest
import timm
import torch
from foreign_names import openmmlab_names

from rednet import commands
from rednet.commands.evaluate import TRAINING_ONLY
from rednet.program import INTERRUPTED

SMALL = (
    "trainer.device=cpu",
    "data.num_workers=0",
    "data.batch_size=4",
    "data.image_size=64",
    "output_dir=tables",
)


def figures():
    with Path("tables/tables.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines_of(out, label):
    return [line for line in out.splitlines() if line.startswith(f"| {label} ")]


def test_it_prints_what_it_writes(paper_tables, work_folder):
    done = paper_tables()
    assert (done.code, done.err) == (0, "")
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("paper_tables-2")
    assert {path.name for path in folder.iterdir()} == {"tables.md", "tables.csv", "tables.json"}
    assert done.last_line == f"tables.md, tables.csv and tables.json are in {folder}"
    results, _, appendix = (folder / "tables.md").read_text().partition("\n## Appendix\n")
    assert done.out.startswith(results) and appendix
    assert "## Appendix" not in done.out and "## Accuracies" not in done.out
    assert "model zoo 10 of 10" in done.out
    assert [path.name for path in work_folder.iterdir()] == ["runs"]


def openmmlab(weights):
    """Return a checkpoint in the format of OpenMMLab's classifiers."""
    return {"meta": {}, "state_dict": openmmlab_names(weights)}


@pytest.fixture
def checkpoints(work_folder):
    """Weights of two networks in the tables, and files that cannot be evaluated."""
    torch.manual_seed(0)
    folder = work_folder / "weights"
    folder.mkdir()
    released = openmmlab(timm.create_model("rednet26").state_dict())
    torch.save(released, folder / "rednet26-4948f75f.pth")
    torch.save(timm.create_model("resnet50").state_dict(), folder / "resnet50_a1.pth")
    narrow = timm.create_model("rednet26", width=0.25)
    torch.save(narrow.state_dict(), folder / "narrow.pth")
    diverged = timm.create_model("rednet26")
    torch.nn.init.constant_(diverged.fc.bias, float("nan"))
    torch.save(diverged.state_dict(), folder / "diverged.pth")
    few = timm.create_model("rednet26", num_classes=10)
    torch.save(few.state_dict(), folder / "few.pth")
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "unknown.pth")
    (folder / "resnet50_latest.pth").symlink_to("resnet50_a1.pth")
    (folder / "README.md").write_text("weights")
    (folder / ".hidden").write_text("nothing")
    return folder


def test_checkpoints_fill_the_rows_of_their_networks(paper_tables, imagenet, checkpoints):
    done = paper_tables(f"checkpoints={checkpoints}", f"data.root={imagenet}", *SMALL)
    assert (done.code, done.err) == (0, "")
    assert "rednet26-4948f75f.pth: assumed: stem involution3 rather than small; act" in done.out
    found = {(row["row"], row["quantity"], row["source"]): row for row in figures()}
    measured = {key for key, row in found.items() if row["unit"] == "%" and row["ours"]}
    assert measured == {
        ("RedNet-26, 3x3 stem", "top-1", "paper"),
        ("RedNet-26, 3x3 stem", "top-1", "model zoo"),
        ("RedNet-26, 3x3 stem", "top-5", "model zoo"),
        ("ResNet-50", "top-1", "plot"),
        ("ResNet-50", "top-5", ""),
    }
    row = found["RedNet-26, 3x3 stem", "top-1", "model zoo"]
    assert row["verdict"] == "not comparable"
    assert float(row["difference"]) < 0
    remark = "Not evaluated as published: images 6, not 50000; image_size 64, not 224."
    assert row["reason"] == remark
    (line,) = lines_of(done.out, "RedNet-26, 3x3 stem")
    cells = [cell.strip() for cell in line.split("|")[-5:-1]]
    assert cells == ["6", "bilinear", "fp32", "rednet26-4948f75f.pth"]
    assert (row["checkpoint"], row["image_size"], row["crop_pct"]) == (
        "rednet26-4948f75f.pth",
        "64",
        "0.875",
    )
    document = Path("tables/tables.md").read_text()
    assert len(lines_of(document, "ResNet-50")) == 2  # complexity, and accuracy once
    assert len(lines_of(done.out, "ResNet-50")) == 1  # the complexity is in the appendix
    reason = found["ResNet-50", "top-1", "plot"]["reason"]
    assert reason.startswith("The network is inferred from the file's name")
    warnings = [line for line in done.out.splitlines() if line.startswith("warning: skipped: ")]
    prefix = f"warning: skipped: checkpoints={checkpoints}"
    reasons = [line.removeprefix(f"{prefix}/") for line in warnings]
    assert reasons[0].startswith("README.md: damaged, truncated or not a checkpoint")
    assert reasons[1].startswith("diverged.pth: the logits of 6 of 6 images are not finite: the ")
    assert reasons[2].startswith("few.pth: its classifier has 10 classes, the data 1000")
    assert reasons[3] == "narrow.pth: no table contains rednet26 width=0.25"
    assert reasons[4] == (
        "unknown.pth: does not say which network it holds; for a ResNet, put it in the file name, "
        "e.g. resnet50.pth"
    )
    # Each is printed at once, and all of them again below the tables.
    assert warnings[:5] == warnings[5:] == done.out.splitlines()[-6:-1]


def test_the_tables_have_no_accuracy_on_some_classes(paper_tables, work_folder, imagenet):
    model = timm.create_model("rednet26", num_classes=3)
    synsets = sorted(path.name for path in (imagenet / "val").iterdir())
    content = {"format": "rednet-2", "model": {"name": "rednet26", "options": {}}}
    (work_folder / "three").mkdir()
    weights = {"state_dict": model.state_dict(), "class_names": synsets}
    torch.save({**content, **weights}, work_folder / "three/ours.pt")
    done = paper_tables("checkpoints=three", f"data.root={imagenet}", *SMALL)
    assert done.code == 2
    line = "warning: skipped: checkpoints=three/ours.pt: tells 3 classes apart, not 1000"
    assert line in done.out.splitlines()


@pytest.fixture
def weights(work_folder):
    """A folder with the weights of one network."""
    torch.manual_seed(0)
    (work_folder / "weights").mkdir()
    torch.save(timm.create_model("rednet26").state_dict(), work_folder / "weights/a.pth")
    return "checkpoints=weights"


class InterruptedAt(io.StringIO):
    """A terminal whose user presses Ctrl-C when it shows some text."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, text):
        if self.text in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.mark.parametrize(
    ("shown", "measured"), [("images/s", set()), ("a.pth  rednet26", {"a.pth"})]
)
def test_an_interrupt_loses_nothing(weights, imagenet, monkeypatch, shown, measured):
    monkeypatch.setattr(sys, "stdout", InterruptedAt(shown))
    argv = [weights, f"data.root={imagenet}", "trainer.log_every=1", *SMALL]
    assert commands.paper_tables(argv) == INTERRUPTED
    assert len(figures()) > 400
    assert {row["checkpoint"] for row in figures()} - {""} == measured


def test_a_resnet_of_openmmlab(paper_tables, work_folder, imagenet):
    (work_folder / "weights").mkdir()
    model = timm.create_model("resnet50")
    torch.save(openmmlab(model.state_dict()), work_folder / "weights/resnet50_8xb32.pth")
    done = paper_tables("checkpoints=weights", f"data.root={imagenet}", *SMALL)
    assert (done.code, done.err) == (0, "")
    assert {row["row"] for row in figures() if row["checkpoint"]} == {"ResNet-50"}


def test_missing_data_is_reported_before_any_file(paper_tables, weights):
    assert paper_tables(weights).error.startswith("data=imagenet needs a folder")
    assert "none" in paper_tables(weights, "data.root=none").error
    assert [path.name for path in Path().iterdir()] == ["weights"]


def test_unreadable_images_are_an_error_after_the_results(paper_tables, weights, imagenet):
    broken = imagenet / "val/n02123045/1.png"
    broken.write_bytes(b"no image")
    argv = [weights, f"data.root={imagenet}", *SMALL]
    assert paper_tables(*argv).error.startswith(f"1 image cannot be read: {broken}")
    assert any("images 5, not 50000" in row["reason"] for row in figures())
    again = paper_tables(*argv, "data.on_unreadable=skip")
    assert again.error == "output_dir=tables: already contains tables: choose another folder"
    assert paper_tables(*argv, "data.on_unreadable=skip", "output_dir=again").code == 0


def test_no_file_can_be_evaluated(paper_tables, work_folder, imagenet):
    (work_folder / "weights").mkdir()
    (work_folder / "weights/README.txt").write_text("weights")
    (imagenet / "val/gone").symlink_to("nowhere")
    done = paper_tables("checkpoints=weights", f"data.root={imagenet}", *SMALL)
    assert done.error == "checkpoints=weights: none of its files can be evaluated"
    not_read, skipped, *_ = done.out.splitlines()
    assert not_read == "warning: not read: 1 link to nothing (gone); listed in tables/not_read.csv"
    assert skipped.startswith("warning: skipped: checkpoints=weights/README.txt: ")
    assert len(figures()) > 400


def test_an_experiment_of_an_ablation_trains(train, imagenet):
    done = train(
        "experiment=ablation/kernel3",
        f"data.root={imagenet}",
        "data.image_size=32",
        "data.batch_size=4",
        "data.num_workers=0",
        "trainer.device=cpu",
        "trainer.max_steps=1",
        "output_dir=run",
    )
    assert (done.code, done.err) == (0, "")
    assert "rednet50: 14.73 M parameters" in done.out
    saved = torch.load("run/checkpoints/last.pt", weights_only=True)
    assert saved["model"]["options"] == {"stem": "conv7", "kernel_size": 3}


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["data.root=x", "trainer.device=cpu"],
            "data.root, trainer.device: without checkpoints=FOLDER nothing is evaluated",
        ),
        (["checkpoints=none"], "checkpoints=none: no such folder"),
        ([f"checkpoints={__file__}"], f"checkpoints={__file__}: is a file; give its folder"),
        (["checkpoints=empty"], "checkpoints=empty: contains no files"),
        (
            ["checkpoints=empty", "data=fashion_mnist"],
            "data=fashion_mnist: the tables contain accuracies on ImageNet only",
        ),
        (["model=rednet50"], "model: this command does not use it"),
        (
            ["checkpoint=a.pth"],
            "checkpoint: this command does not use it; did you mean 'checkpoints'?",
        ),
        (["data.val_fraction=0.5"], "data.val_fraction: this command does not use it"),
    ],
)
def test_mistakes_on_the_command_line(paper_tables, argv, line):
    Path("empty").mkdir()
    assert paper_tables(*argv).error == line
    assert [path.name for path in Path().iterdir()] == ["empty"]


def test_training_keys_are_refused(paper_tables):
    error = paper_tables(f"{TRAINING_ONLY[0]}=3").error
    assert error == f"{TRAINING_ONLY[0]}: this command does not use it"
