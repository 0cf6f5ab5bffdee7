"""Plots have the expected size and show what they should."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from rednet.plots import draw_confusion, draw_curves, draw_top_confusions


def line(epoch, **values):
    names = ("train_loss", "val_loss", "val_top1", "val_top5")
    return {"epoch": epoch, "lr": 0.1 / epoch, **dict.fromkeys(names, 1.0 / epoch), **values}


METRICS = {
    "a run": [line(epoch) for epoch in range(1, 13)],
    "one epoch": [line(1)],
    "no epoch": [],
    "gaps": [line(1, val_loss=None, val_top1=None), line(2), line(3, train_loss=None)],
    "never evaluated": [line(1, val_loss=None, val_top1=None)],
}


@pytest.mark.parametrize("metrics", METRICS.values(), ids=METRICS)
def test_curves(metrics, tmp_path):
    draw_curves(metrics, tmp_path / "curves.png", "rednet26 on imagenet")
    with Image.open(tmp_path / "curves.png") as image:
        assert (image.width, image.height) == (1440, 468)


def test_curves_name_their_run(tmp_path):
    for name in ("one", "two"):
        draw_curves(METRICS["one epoch"], tmp_path / f"{name}.png", f"{name} $x_{{$")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        left, top, right, bottom = ImageChops.difference(
            one.convert("L"), two.convert("L")
        ).getbbox()
    assert 0 < left < 720 < right + 100 and 0 < top < bottom < 40  # the title and nothing else


def confusion_of(classes, count=30):
    generator = torch.Generator().manual_seed(classes)
    mistakes = torch.rand(classes, classes, generator=generator) < 2 / classes
    return mistakes.long() + count * torch.eye(classes, dtype=torch.int64)


@pytest.mark.parametrize("classes", [1, 2, 10, 21, 60])
def test_confusion(classes, tmp_path):
    names = [f"class {index}" for index in range(classes)]
    draw_confusion(confusion_of(classes), names, tmp_path / "confusion.png", "title")
    with Image.open(tmp_path / "confusion.png") as image:
        assert min(image.size) > 500
        assert image.width < 1.3 * image.height


def test_only_counts_above_zero_are_coloured(tmp_path):
    for name, count in (("few", 1), ("many", 1_000_000)):
        path = tmp_path / f"{name}.png"
        draw_confusion(count * torch.eye(40, dtype=torch.int64), ["c"] * 40, path, "title")
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("HSV"))
        assert 0.01 < (pixels[..., 1] > 100).mean() < 0.08  # the diagonal and the colour bar


def confusion_rows(count):
    return [
        {"true": f"n{index:08d}", "predicted": "$x_{$", "count": 50 - index, "share": 40.0}
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 30, 11_000])
def test_top_confusions(count, tmp_path):
    draw_top_confusions(confusion_rows(count), tmp_path / "confusion.png", "title")
    with Image.open(tmp_path / "confusion.png") as image:
        assert image.width == 1100
        assert image.height == pytest.approx(308 if count < 30 else 968, abs=1)


def test_class_names_are_plain_text(tmp_path):
    names = ["$x_{$", r"a $\nothing$ b", "\u4e2d\u6587", "T-shirt/top", "_"]
    draw_confusion(confusion_of(5), names, tmp_path / "confusion.png", "title")
    assert (tmp_path / "confusion.png").is_file()


def test_names_that_are_no_text_can_be_drawn(tmp_path):
    names = ["\udcff", "\x1b[31m"]
    draw_confusion(torch.eye(2, dtype=torch.int64), names, tmp_path / "c.png", "title")
    draw_curves([], tmp_path / "curves.png", f"title {names[0]}{names[1]}")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.info["Title"] == r"title \xff\x1b[31m"
