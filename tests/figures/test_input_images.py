"""Input images of the figures: found, read and preprocessed."""

import numpy as np
import pytest
import torch
from PIL import Image

from rednet.data import Preprocessing
from rednet.data.image_paths import find_images
from rednet.data.not_read import NotRead
from rednet.errors import InputError
from rednet.figures.input_images import BATCH_SIZE, load_images

COLOUR = Preprocessing(16, 1.0, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
GRAY = Preprocessing(16, 1.0, "bilinear", (0.3,), (0.2,))
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    for name, value in (("b/1.png", 10), ("a.png", 250), ("b/.hidden.png", 0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 24, 3), value, np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def paths(folder):
    return list(find_images([str(folder)], NotRead()))


@pytest.mark.parametrize("preprocessing", [COLOUR, GRAY], ids=["colour", "gray"])
def test_rgb_shows_the_input_of_the_network(preprocessing, folder):
    images = load_images(paths(folder), preprocessing, CPU)
    assert images.names == ("a", "1")
    assert images.inputs.shape == (2, preprocessing.in_chans, 16, 16)
    assert images.rgb.shape == (2, 16, 16, 3)
    np.testing.assert_allclose(images.rgb[0], 250 / 255, atol=1e-5)
    np.testing.assert_allclose(images.rgb[1], 10 / 255, atol=1e-5)


def test_unreadable_images_are_named(folder):
    for name in ("a.png", "z.png"):
        (folder / name).write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"images: 2 image.* /\S*/a\.png \(.*/z\.png \("):
        load_images(paths(folder), COLOUR, CPU)


def test_batches_and_first_images(make_images):
    images = make_images(BATCH_SIZE + 2, 4)
    assert [len(batch) for batch in images.batches()] == [BATCH_SIZE, 2]
    assert len(images.first(3)) == len(images.first(3).rgb) == 3
    assert len(images.first(100)) == BATCH_SIZE + 2
