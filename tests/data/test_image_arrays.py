"""Images in memory: every kind gives the pixels of the same file."""

import numpy as np
import pytest
import torch
from PIL import Image

from rednet.data.image_arrays import as_image, is_single
from rednet.data.image_reading import read_image
from rednet.errors import InputError

COLOUR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GRAY = COLOUR[:, :, 0]
DEEP = GRAY.astype(np.uint16) * 257
ALPHA = np.concatenate([COLOUR, COLOUR[:, :, :1]], 2)
FIRST = COLOUR.transpose(2, 0, 1)


def tensor(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (COLOUR, COLOUR),
        (FIRST, COLOUR),
        (COLOUR / 255, COLOUR),
        (COLOUR / 255 * 1.000001, COLOUR),
        (FIRST.astype(np.float32) / 255, COLOUR),
        (COLOUR.astype(np.float16) / 255, COLOUR),
        (tensor(FIRST), COLOUR),
        (tensor(COLOUR), COLOUR),
        (tensor(FIRST) / 255, COLOUR),
        (tensor(FIRST).div(255).requires_grad_(), COLOUR),
        (COLOUR[::-1, ::-1], COLOUR[::-1, ::-1]),
        (GRAY, GRAY),
        (GRAY[:, :, None], GRAY),
        (tensor(GRAY)[None], GRAY),
        (DEEP, GRAY),
        (DEEP[None], GRAY),
        (ALPHA, COLOUR),
        (ALPHA.transpose(2, 0, 1), COLOUR),
        (Image.fromarray(COLOUR), COLOUR),
        (Image.fromarray(ALPHA), COLOUR),
        (Image.fromarray(DEEP), GRAY),
        (np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4, 3))),
        (torch.zeros(3, 4, 3, dtype=torch.uint8), np.zeros((4, 3, 3))),
    ],
)
def test_every_kind_of_image(image, expected):
    found = np.asarray(as_image(image))
    assert found.shape == expected.shape and (found == expected).all()


def test_bfloat16_has_an_eighth_of_a_percent():
    pixels = tensor(FIRST).div(255).bfloat16()
    found = np.asarray(as_image(pixels)).astype(int)
    assert abs(found - COLOUR).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_an_image_of_pillows_is_that_of_its_file(mode, tmp_path):
    image = Image.fromarray(COLOUR).convert(mode)
    path = tmp_path / ("image.tif" if mode in ("CMYK", "YCbCr") else "image.png")
    if mode != "HSV":
        image.save(path, **({"compression": "raw"} if path.suffix == ".tif" else {}))
        with Image.open(path) as opened:
            assert as_image(opened) == read_image(path) == as_image(path) == as_image(str(path))
    assert as_image(image).mode in ("L", "RGB")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (3, "an image must be a path, .* not int"),
        (b"bytes", "an image must be a path, .* not bytes"),
        (np.zeros(5, np.uint8), r"must have the shape .*, not \(5,\)"),
        (np.zeros((5, 6, 7), np.uint8), r"must have the shape .*, not \(5, 6, 7\)"),
        (np.zeros((0, 5, 3)), r"an array of shape \(0, 5, 3\) has no pixels"),
        (COLOUR.astype(np.int64), "must hold uint8 .*, not int64"),
        (COLOUR > 3, "must hold uint8 .*, not bool"),
        (COLOUR.astype(np.float32), "pixels from 0 to 1, not 0 to 2"),
        (
            tensor(FIRST) / 255 - 0.5,
            "pixels from 0 to 1, not -0.5 to 0.4.*; a batch that is already",
        ),
        (np.full((4, 4), np.nan), "pixels from 0 to 1, not nan"),
        (np.dstack([DEEP] * 3), "16 bits must be gray"),
        (Image.new("F", (4, 4)), "an image of mode F cannot be used: 32-bit pixels"),
    ],
)
def test_what_is_no_image(image, message):
    with pytest.raises(InputError, match=message):
        as_image(image)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("a.png", True),
        (COLOUR, True),
        (tensor(FIRST), True),
        (COLOUR[None], False),
        (["a.png"], False),
        ((), False),
        (iter(["a.png"]), False),
        (None, True),
        (b"a.png", True),
    ],
)
def test_one_image_or_several(images, expected):
    assert is_single(images) == expected
