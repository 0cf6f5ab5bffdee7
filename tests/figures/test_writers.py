"""The files of each figure and the numbers in them."""

import csv

import numpy as np
import pytest
from PIL import Image

from rednet.errors import InputError
from rednet.figures.generated_kernels import select_involutions
from rednet.figures.writers import (
    write_envelopes,
    write_kernels,
    write_receptive_field,
    write_schedule,
    write_taps,
)
from rednet.training.schedule import Schedule


def names(written, folder):
    assert all(path.parent == folder and path.stat().st_size for path in written)
    return {path.name for path in written}


def both(*stems):
    return {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_envelopes(tmp_path):
    written = names(write_envelopes(tmp_path), tmp_path)
    assert written == {"accuracy.csv"} | both("accuracy-complexity", "accuracy-parameters")
    assert table(tmp_path / "accuracy.csv")[0]["family"] == "RedNet"


def test_schedule(tmp_path):
    written = write_schedule(Schedule("cosine", 0.1, 3, 10), tmp_path)
    assert names(written, tmp_path) == {"schedule.csv"} | both("schedule")


def test_kernels(make_tiny, make_images, tmp_path):
    model, images = make_tiny(), make_images(2)
    layers = select_involutions(model, ["stem", "layer4.0"])
    written = write_kernels(model, images, tmp_path, layers=layers, groups=2)
    stems = ("kernels-stem", "kernels-layer4.0")
    assert names(written, tmp_path) == {f"{stem}.npz" for stem in stems} | both(*stems)
    with np.load(tmp_path / "kernels-layer4.0.npz") as numbers:
        assert numbers["sums"].shape == (2, 8, 1, 1)  # all groups
        assert numbers["images"].tolist() == ["image0", "image1"]
        assert numbers["centres"].tolist() == [8]
    with Image.open(tmp_path / "kernels-layer4.0.png") as image:
        assert image.width > image.height  # an image and two groups across, two images down


def test_taps(make_tiny, make_images, tmp_path):
    written = write_taps(make_tiny(), make_images(), tmp_path)
    stems = ("taps", "taps-distance", "taps-blocks-mean", "taps-blocks-absolute")
    assert names(written, tmp_path) == {"taps.csv", "taps-distance.csv"} | both(*stems)
    rows = table(tmp_path / "taps.csv")
    assert len(rows) == 2 * 9 + 5 * 49 + 4 * 49  # the stem's twice, blocks, stages
    with pytest.raises(InputError, match="this network has no involution"):
        write_taps(make_tiny(stem="conv7", involution_stages=()), make_images(), tmp_path)


def test_receptive_field(make_tiny, make_images, tmp_path):
    written = write_receptive_field(make_tiny(), make_images(), tmp_path)
    numbers = {"receptive-field.npz", "receptive-field.csv"}
    assert names(written, tmp_path) == numbers | both("receptive-field")
    with np.load(tmp_path / "receptive-field.npz") as file:
        assert file["influences"].shape == (4, 32, 32)
        assert file["stages"].tolist() == [f"layer{stage}" for stage in (1, 2, 3, 4)]
