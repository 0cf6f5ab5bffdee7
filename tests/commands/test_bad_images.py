"""Images that cannot be read neither end a run that could go on nor pass unnoticed."""

from pathlib import Path

import pytest
import torch
from equal_runs import assert_equal_states, load
from PIL import Image

from rednet.training.log import read_metrics


@pytest.fixture
def train_damaged(train, imagenet):
    """Trains on 12 images of which 2 cannot be read, one named `bad.png`."""
    folder = imagenet / "train" / "n01443537"
    (folder / "0.png").rename(folder / "bad.png")
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "1.png").write_bytes(b"")
    network = ["model=timm", "model.name=test_resnet", "schedule=constant", "schedule.epochs=1"]
    sizes = ["data.image_size=32", "data.batch_size=6", "data.num_workers=0"]
    fixed = ["data=imagenet", f"data.root={imagenet}", "trainer.device=cpu", "output_dir=run"]
    return lambda *argv: train(*network, *sizes, *fixed, *argv)


@pytest.fixture
def val_image(imagenet):
    """A validation image."""
    return imagenet / "val" / "n01443537" / "0.png"


def epochs():
    return [line["epoch"] for line in read_metrics(Path("run"))]


def warnings(done):
    return [line for line in done.out.splitlines() if line.startswith("warning: ")]


def test_each_unreadable_image_is_reported_and_counted_once_in_a_run(train_damaged, imagenet):
    """In 3 epochs and after a resumption, with a limit of as many images."""
    limit = ("data.max_unreadable=2", "schedule.epochs=4")
    done = train_damaged(*limit, "trainer.max_steps=6")
    assert (done.code, epochs()) == (0, [1, 2, 3])
    assert len(warnings(done)) == 2
    bad = f"{imagenet}/train/n01443537/bad.png"
    line = f"warning: image skipped: {bad} (it is no image of a known format)"
    assert line in warnings(done)
    done = train_damaged(*limit)
    assert (done.code, epochs(), warnings(done)) == (0, [1, 2, 3, 4], [])
    state = load(Path("run/checkpoints/last.pt"))["train_state"]
    assert bad in state["unreadable_images"].values()
    assert state["unreadable"] == 2


def test_too_many_unreadable_images_end_a_run_that_can_go_on(train_damaged):
    many = ("data.max_unreadable=0", "schedule.epochs=2", "data.batch_size=4")
    done = train_damaged(*many)
    assert "1 training image could not be read, more than data.max_unreadable=0: " in done.error
    assert "is saved in run" in done.error
    done = train_damaged(*many, "data.max_unreadable=2")
    assert (done.code, epochs()) == (0, [1, 2])
    assert "resumed after step" in done.out


def test_a_count_of_an_earlier_version_is_no_obstacle(train_damaged):
    """It counted every image in every epoch."""
    train_damaged("data.max_unreadable=2", "schedule.epochs=2", "trainer.max_steps=2")
    for path in Path("run/checkpoints").iterdir():
        content = load(path)
        content["train_state"]["unreadable"] = 22
        del content["train_state"]["unreadable_images"]
        path.unlink()
        torch.save(content, path)
    done = train_damaged("data.max_unreadable=2", "schedule.epochs=2")
    assert (done.code, epochs()) == (0, [1, 2])


def test_an_unreadable_validation_image_is_found_before_the_first_epoch(train_damaged, val_image):
    val_image.write_bytes(val_image.read_bytes()[:3000])
    assert f"1 image cannot be read: {val_image} (" in train_damaged().error
    assert epochs() == []
    done = train_damaged("data.on_unreadable=skip")
    assert (done.code, epochs()) == (0, [1])
    assert warnings(done)[0].startswith("warning: before the first epoch: 1 image cannot be read: ")
    assert "warning: 1 validation image could not be read" in done.out


def test_what_headers_do_not_show_is_found_by_decoding(train_damaged, val_image):
    content = bytearray(val_image.read_bytes())
    content[len(content) // 2] ^= 0xFF
    val_image.write_bytes(content)
    assert f"1 image cannot be read: {val_image} (" in train_damaged("data.check=full").error
    done = train_damaged()
    assert f"1 image cannot be read: {val_image} (" in done.error
    assert epochs() == [1]
    assert load(Path("run/checkpoints/last.pt"))["checked"] == "headers"


def test_a_resumed_run_does_not_check_again(train_damaged, val_image, monkeypatch):
    train_damaged("schedule.epochs=2", "trainer.max_steps=2")
    read = []
    monkeypatch.setattr("rednet.data.image_files.read_header", lambda *_: read.append(1))
    done = train_damaged("schedule.epochs=2")
    assert (done.code, read) == (0, [])


def test_a_batch_without_a_readable_image_is_a_step_that_changes_nothing(train_damaged, imagenet):
    """Neither the weights nor the statistics; the schedule moves on."""
    for path in (imagenet / "train").rglob("*.png"):
        path.write_bytes(b"")
    done = train_damaged("data.max_unreadable=12", "trainer.ema_decay=0.9")
    assert (done.code, epochs()) == (0, [1])
    state = load(Path("run/checkpoints/last.pt"))
    counters = state["train_state"]
    assert (counters["global_step"], counters["optimizer_steps"]) == (2, 0)
    assert read_metrics(Path("run"))[0]["train_loss"] is None
    assert "not finite" not in done.out
    assert_equal_states(state["state_dict"], state["state_dict_ema"])
    assert not counters["optimizer"]["state"]


def test_bombs_are_refused_by_their_header(train_damaged, val_image):
    Image.new("1", (3000, 2000)).save(val_image)
    done = train_damaged("data.max_pixels=5000000")
    reason = "it has 6000000 pixels, more than data.max_pixels=5000000"
    assert f"1 image cannot be read: {val_image} ({reason})" in done.error
