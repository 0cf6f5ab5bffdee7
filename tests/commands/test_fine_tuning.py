"""Train from the weights of a file, which decides about the network and the preprocessing."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
import yaml

from rednet import commands

RED = {"width": 0.25, "layers": [1, 1, 1, 1]}
SIZES = ("trainer.device=cpu", "data.num_workers=0", "data.batch_size=4")
ONE_EPOCH = (*SIZES, "schedule=constant", "schedule.epochs=1")
CLASSES = ("ant", "bee", "cow")
GRAY = "mean 0.286, std 0.353"
COLOUR = "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"


@pytest.fixture(scope="module")
def gray_run(tmp_path_factory):
    """The best checkpoint of a run of a RedNet on gray images of 20 px, with averaged weights."""
    folder = tmp_path_factory.mktemp("gray") / "run"
    network = ["model=rednet26", "model.options.width=0.25", "model.options.stem=small"]
    data = [
        "data=fashion_mnist",
        "data.image_size=20",
        "data.train_samples=8",
        "data.val_samples=10",
    ]
    argv = [*network, "model.options.layers=[1,1,1,1]", *data, "trainer.ema_decay=0.5"]
    assert commands.train([*ONE_EPOCH, *argv, f"output_dir={folder}"]) == 0
    return folder / "checkpoints" / "best.pt"


@pytest.fixture
def fine_tune(train, make_images):
    """Fine-tune on three classes of colour images."""
    make_images("images/train", CLASSES)
    root = make_images("images/val", CLASSES, 2).parent

    def run(checkpoint, *argv):
        where = ["data=image_folder", f"data.root={root}", f"checkpoint={checkpoint}"]
        return train(*where, *ONE_EPOCH, *argv, "output_dir=tuned")

    return run


def tuned():
    """Configuration and preprocessing of the run."""
    content = torch.load("tuned/checkpoints/last.pt", weights_only=True)
    config = yaml.safe_load(Path("tuned/config.yaml").read_text())
    assert config == yaml.safe_load(content["config"])
    assert config["model"] == content["model"]
    assert {name: config["data"][name] for name in content["preprocessing"]} == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in content["preprocessing"].items()
    }
    return config


def test_the_readmes_command(fine_tune, gray_run, evaluate, tmp_path):
    done = fine_tune(gray_run)
    assert (done.code, done.err) == (0, "")
    network = "rednet26 (width=0.25, stem=small, layers=[1, 1, 1, 1])"
    lines = [
        line for line in done.out.splitlines() if line.startswith(("starts", "weights", "its"))
    ]
    assert lines == [
        f"starts from {gray_run} (rednet), {network}; 20 px, crop 1, bilinear, {COLOUR}",
        "weights: uses state_dict_ema, averaged over training steps, not state_dict",
        "its classifier has 10 classes, the data 3: the classifier is newly initialised",
    ]
    assert "stem.0.conv is adapted from 1 to 3 image channels" in done.out.splitlines()
    config = tuned()
    assert config["model"] == {"name": "rednet26", "options": {"stem": "small", **RED}}
    assert (config["data"]["image_size"], config["data"]["crop_pct"]) == (20, 1)
    same = evaluate(
        "checkpoint=tuned/checkpoints/best.pt",
        "data=image_folder",
        f"data.root={tmp_path}/images",
        "output_dir=results",
    )
    assert f"20 px, crop 1, bilinear, {COLOUR}" in same.out


def test_typed_keys_take_precedence(fine_tune, gray_run):
    typed = ["data.image_size=24", "data.crop_pct=0.9", "model.options.drop_rate=0.1"]
    done = fine_tune(gray_run, *typed, "data.mean=[0.5,0.5,0.5]", "data.std=[0.2,0.2,0.2]")
    assert "24 px, crop 0.9, bilinear, mean 0.5 0.5 0.5, std 0.2 0.2 0.2" in done.out
    config = tuned()
    assert config["model"]["options"] == {"stem": "small", **RED, "drop_rate": 0.1}
    assert config["data"]["mean"] == [0.5, 0.5, 0.5]


def test_gray_images_as_in_the_file(train, gray_run):
    sizes = ["data.train_samples=8", "data.val_samples=10", "output_dir=tuned"]
    done = train("data=fashion_mnist", f"checkpoint={gray_run}", *ONE_EPOCH, *sizes)
    assert f"20 px, crop 1, bilinear, {GRAY}" in done.out
    assert "classifier" not in done.out
    assert "adapted" not in done.out
    assert tuned()["data"]["mean"] == [0.286]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["model=rednet50"], ", not for rednet50"),
        (["model=timm", "model.name=test_resnet"], ", not for test_resnet"),
        (["model=rednet26", "model.options.stem=conv7"], ", not for stem=conv7"),
        (["model.options.stem=involution3"], ", not for stem=involution3"),
        (["model.options.layers=[1,2,1,1]"], ", not for rednet26 (layers=[1, 2, 1, 1])"),
        (["experiment=ablation/linear"], ", not for rednet50"),
    ],
)
def test_a_typed_network_that_disagrees(typed, reason, fine_tune, gray_run, work_folder):
    error = fine_tune(gray_run, *typed).error
    assert error == (
        f"checkpoint={gray_run} is for rednet26 (width=0.25, stem=small, "
        f"layers=[1, 1, 1, 1]){reason}"
    )
    assert not list(work_folder.iterdir())


def test_typed_options_that_do_not_fit_name_both_networks(fine_tune, gray_run):
    error = fine_tune(gray_run, "model.options.width=0.5").error
    assert "does not fit this network: " in error
    assert "it is for rednet26 (width=0.25, stem=small, layers=[1, 1, 1, 1]), not for" in error
    assert "not for rednet26 (width=0.5, stem=small, layers=[1, 1, 1, 1])" in error


def test_an_experiment_counts_as_typed(train, gray_run):
    small = ["model.options.layers=[1,1,1,1]", "model.options.stem=small"]
    sizes = ["data.train_samples=8", "data.val_samples=10", "output_dir=tuned"]
    argv = ["experiment=fashion_mnist", *small, f"checkpoint={gray_run}", *ONE_EPOCH]
    done = train(*argv, "schedule.warmup_epochs=0", *sizes)
    assert f"56 px, crop 1, bilinear, {GRAY}" in done.out  # of the experiment; the file has 20 px


def test_a_foreign_file_says_what_it_assumes(fine_tune):
    torch.save(
        timm.create_model("rednet26", stem="small", num_classes=3, **RED).state_dict(), "a.pt"
    )
    done = fine_tune("a.pt", "data.image_size=32")
    lines = done.out.splitlines()
    assert (
        "assumed: stem involution3 rather than small; act_layer relu, global_pool avg, " in done.out
    )
    assert any(line.startswith("its classifier is kept: it names no classes") for line in lines)
    done = fine_tune("a.pt", "data.image_size=32", "model.options.stem=small", "resume=never")
    assert done.code == 2  # the folder holds a run


def test_a_released_file_brings_its_preparation(fine_tune):
    torch.save(timm.create_model("rednet50", **RED).state_dict(), "released.pth")
    done = fine_tune(
        "released.pth",
        "data.image_size=32",
        "data=fashion_mnist",
        "data.root=null",
        "data.train_samples=8",
        "data.val_samples=10",
    )
    assert "bilinear, mean 0.286, std 0.353" in done.out
    assert "stem.0.conv is adapted from 3 to 1 image channels" in done.out
    assert "crop 0.875" in done.out


def test_a_timm_network_and_its_preparation(fine_tune):
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), "vit.pth")
    assert "does not say which network it is for: add" in fine_tune("vit.pth").error
    done = fine_tune("vit.pth", "model=timm", "model.name=test_vit")
    assert "160 px, crop 0.95, bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5" in done.out
    assert tuned()["data"]["image_size"] == 160


def test_weights_that_timm_loads(train, make_images):
    """Training from them takes their preparation, training from scratch that of the data."""
    root = make_images("images", CLASSES)
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), "vit.pth")
    overlay = "model.options.pretrained_cfg_overlay={file: vit.pth, num_classes: 3, crop_pct: 0.8}"
    network = ["model=timm", "model.name=test_vit", overlay, "data=image_folder"]
    argv = [*network, f"data.root={root}", *ONE_EPOCH]
    done = train(*argv, "model.options.pretrained=true", "output_dir=tuned")
    assert (
        "starts from the weights of test_vit that timm loads; 160 px, crop 0.8, bicubic" in done.out
    )
    assert tuned()["data"]["interpolation"] == "bicubic"
    scratch = train(*argv, "data.image_size=160", "output_dir=scratch")
    assert "starts from" not in scratch.out


def test_a_run_continues_without_the_file_that_it_started_from(fine_tune, gray_run):
    shutil.copy(gray_run, "start.pt")
    assert fine_tune("start.pt", "schedule.epochs=2", "trainer.max_steps=3").code == 0
    before = tuned()
    Path("start.pt").unlink()
    done = fine_tune("start.pt", "schedule.epochs=2", "trainer.max_steps=6")
    assert done.code == 0, done
    assert "resumed after epoch 1" in done.out
    assert (tuned()["model"], tuned()["data"]) == (before["model"], before["data"])


FINETUNE = ("experiment=finetune", "schedule=cosine", "augment=none")


def test_the_experiment(fine_tune, gray_run):
    argv = [*FINETUNE, "schedule.epochs=3", "optimizer.lr=1e-9", "trainer.early_stopping=1"]
    done = fine_tune(gray_run, *argv)
    assert done.code == 0, done
    head = 3 * (512 + 1)
    assert f" M parameters, of which {head:,} train in the first epoch\n" in done.out
    assert [line for line in done.out.splitlines() if line.startswith("stopped early")]
    again = fine_tune(gray_run, *argv)
    assert again.code == 0
    assert again.out.count("stopped early after epoch 2: no better top-1 than") == 1
    assert "nothing left to do after step" in again.out
    assert fine_tune(gray_run, *argv, "trainer.early_stopping=null").code == 0
    assert len(Path("tuned/metrics.jsonl").read_text().splitlines()) == 3


def test_linear_probing(fine_tune, gray_run):
    done = fine_tune(gray_run, "finetune.freeze=backbone", "optimizer.lr=0.1")
    assert ", of which 1,539 train\n" in done.out
    before, after = (
        torch.load(path, weights_only=True) for path in (gray_run, "tuned/checkpoints/last.pt")
    )
    state = after["state_dict"]
    same = [k for k in state if not k.startswith(("fc.", "stem.0.conv"))]
    assert all(torch.equal(before["state_dict_ema"][key], state[key]) for key in same)
    assert [
        len(group["params"]) for group in after["train_state"]["optimizer"]["param_groups"]
    ] == [2]
    other = fine_tune(gray_run, "finetune.freeze=stages", "optimizer.lr=0.1")
    assert "belongs to another run and cannot be loaded" in other.err
    assert "finetune.freeze: backbone in the run, stages here" in other.err


def test_random_weights_are_not_frozen(train, fine_tune):
    message = "checkpoint=FILE is needed: finetune.{} would freeze random weights"
    for key in ("freeze=backbone", "freeze=stages", "head_epochs=1", "batch_norm=freeze"):
        found = train("data=fashion_mnist", "schedule.epochs=5", f"finetune.{key}")
        assert found.error.startswith(message.format(key))
