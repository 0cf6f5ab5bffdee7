"""Going on with a run, starting from weights, and never losing what was saved."""

import shutil
from pathlib import Path

import pytest
import torch

from rednet.training.log import read_metrics


def weights(run, name="last.pt"):
    return torch.load(Path(run) / "checkpoints" / name, weights_only=True)["state_dict"]


def epochs(run):
    return [line["epoch"] for line in read_metrics(Path(run))]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("resume", ["auto", "run", "run/checkpoints/last.pt"])
def test_a_run_goes_on_where_it_stopped(resume, train_tiny):
    train_tiny("schedule.epochs=2", "output_dir=whole")
    train_tiny("output_dir=run")
    done = train_tiny("schedule.epochs=2", "output_dir=run", f"resume={resume}")
    assert "resumed after epoch 1 from run/checkpoints/last.pt\n" in done.out
    assert epochs("run") == epochs("whole") == [1, 2]
    assert_equal(weights("run"), weights("whole"))


@pytest.fixture
def run(trained, work_folder):
    """A run of two epochs in the folder "run"."""
    shutil.copytree(trained, work_folder / "run")


def test_a_finished_run_has_nothing_left_to_do(run, train_tiny, files_in):
    before = files_in(Path("run"))
    done = train_tiny("output_dir=run", "optimizer.lr=40", "schedule.epochs=2")
    assert "nothing left to do after epoch 2" in done.out
    after = files_in(Path("run"))
    rewritten = {name for name in before if after.get(name) != before[name]}
    assert rewritten <= {"config.yaml", "curves.png"}


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["resume=never"], "output_dir=run already holds a run: choose another folder, or resume"),
        (["resume=other"], "output_dir=run already holds a run: choose another folder, or resume"),
        (
            ["model.name=test_efficientnet"],
            "run/checkpoints/last.pt belongs to another run: its mo",
        ),
        (
            ["optimizer=adamw"],
            "run/checkpoints/last.pt belongs to another run: its opt",
        ),
        (
            ["optimizer.decay_all=false"],
            "run/checkpoints/last.pt belongs to another run: its opt",
        ),
    ],
)
def test_a_folder_that_holds_another_run_keeps_it(argv, line, run, train_tiny, files_in):
    shutil.copytree("run", "other")
    before = files_in(Path())
    done = train_tiny("schedule.epochs=3", "output_dir=run", *argv)
    assert done.error.startswith(line)
    assert files_in(Path()) == before


def test_a_folder_with_other_classes_is_another_run(run, train_tiny, make_images):
    root = make_images("images", [f"class{number}" for number in range(10)])
    gray = ["data.mean=[0.5]", "data.std=[0.5]"]
    done = train_tiny("data=image_folder", f"data.root={root}", *gray, "output_dir=run")
    assert "run/checkpoints/last.pt belongs to another run: its class_names is ['T-sh" in done.error


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (
            lambda whole: whole[:-1000],
            "resume=run/checkpoints/last.pt: damaged, truncated or not a checkpoint",
        ),
        (
            lambda whole: b"",
            "resume=run/checkpoints/last.pt: damaged, truncated or not a checkpoint",
        ),
    ],
)
def test_a_damaged_checkpoint_is_not_overwritten(damage, line, run, train_tiny, files_in):
    last = Path("run/checkpoints/last.pt")
    content = damage(last.read_bytes())
    last.unlink()
    last.write_bytes(content)
    before = files_in(Path())
    assert train_tiny("schedule.epochs=3", "output_dir=run").error.startswith(line)
    assert files_in(Path()) == before


def test_weights_alone_are_no_run_to_go_on_with(train_tiny, trained):
    torch.save(weights(trained), "weights.pt")
    error = train_tiny("resume=weights.pt").error
    assert error.startswith("resume=weights.pt: holds weights but no training state; checkpoint=")


def test_starting_from_weights(train_tiny, trained):
    still = ["optimizer.lr=1e-30", "optimizer.weight_decay=0"]
    start = f"checkpoint={trained}/checkpoints/best.pt"
    done = train_tiny(*still, start, "output_dir=run")
    assert (done.code, epochs("run")) == (0, [1])
    before, after = weights(trained, "best.pt"), weights("run")
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert all("running_" in name or "num_batches" in name for name in moved)


def test_another_number_of_classes_gets_a_new_classifier(
    train_tiny, evaluate, trained, make_images
):
    root = make_images("images", ["cat", "dog"], 8)
    data = ["data=image_folder", f"data.root={root}", "data.mean=[0.3]", "data.std=[0.3]"]
    still = ["optimizer.lr=1e-30", "data.val_samples=null"]
    checkpoint = f"{trained}/checkpoints/last.pt"
    done = train_tiny(*data, *still, f"checkpoint={checkpoint}", "output_dir=run")
    assert done.out.splitlines()[0] == (
        f"checkpoint={checkpoint}: its classifier has 10 classes, the data 2: "
        "the classifier is newly initialised"
    )
    before, after = weights(trained), weights("run")
    assert after["fc.weight"].shape[0] == 2
    assert torch.equal(before["layer1.0.conv1.weight"], after["layer1.0.conv1.weight"])
    error = evaluate(*data, f"checkpoint={checkpoint}").error
    assert error == f"checkpoint={checkpoint} has 10 classes, the data 2: evaluate it on " + (
        "data with the same classes"
    )


@pytest.fixture
def train_damaged(train, imagenet):
    """Trains on 12 images of which 2 cannot be read, one named `bad.png`."""
    folder = imagenet / "train" / "n01443537"
    (folder / "0.png").rename(folder / "bad.png")
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "1.png").write_bytes(b"")
    network = ["model=timm", "model.name=test_resnet", "schedule=constant", "schedule.epochs=1"]
    sizes = ["data.image_size=64", "data.batch_size=6", "data.num_workers=0"]
    fixed = ["data=imagenet", f"data.root={imagenet}", "trainer.device=cpu", "output_dir=run"]
    return lambda *argv: train(*network, *sizes, *fixed, *argv)


def test_unreadable_images_are_passed_over_with_warnings(train_damaged, imagenet):
    done = train_damaged("data.max_unreadable=2")
    assert (done.code, epochs("run")) == (0, [1])
    warnings = [line for line in done.out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    bad = f"{imagenet}/train/n01443537/bad.png"
    assert any(line.startswith(f"warning: image skipped: {bad} (") for line in warnings)


def test_too_many_unreadable_images_are_an_error(train_damaged):
    done = train_damaged("data.max_unreadable=1")
    assert done.error == (
        "2 training images could not be read, more than data.max_unreadable=1; "
        "the warnings name them"
    )


def test_an_unreadable_validation_image_ends_a_run_that_is_saved(train_damaged, imagenet):
    folder = imagenet / "val" / "n01443537"
    (folder / "0.png").write_bytes(b"no image")
    done = train_damaged()
    assert f"1 image cannot be read: {folder}/0.png (" in done.error
    assert (epochs("run"), Path("run/checkpoints/last.pt").is_file()) == ([1], True)
    done = train_damaged("data.on_unreadable=skip", "schedule.epochs=2")
    assert (done.code, epochs("run")) == (0, [1, 2])
    assert "warning: 1 validation image could not be read" in done.out
