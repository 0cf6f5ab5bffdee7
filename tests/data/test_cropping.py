"""Samples do not depend on whether JPEG files are decoded in part or whole."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from rednet.data import (
    Augmentation,
    ImageDataset,
    ImageFiles,
    Preprocessing,
    eval_transform,
    train_transform,
)
from rednet.data.lazy_reading import JpegFile, read_lazily
from rednet.decoding import decode_jpeg, unavailable_reason

CROP_AND_FLIP = Augmentation(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), hflip=0.5)
EVERYTHING = Augmentation(
    (0.2, 1.0), (0.5, 2.0), 0.5, color_jitter=0.4, auto_augment="rand-m9", random_erasing=0.5
)
ROTATED = Image.Exif()
ROTATED[Image.ExifTags.Base.Orientation] = 6
KINDS = {
    "444.jpg": {"subsampling": "4:4:4"},
    "420.jpg": {"subsampling": "4:2:0"},
    "restarts.jpg": {"subsampling": "4:2:2", "restart_marker_rows": 1},
    "optimized.JPEG": {"optimize": True, "quality": 95},
    "progressive.jpg": {"progressive": True},
    "rotated.jpg": {"exif": ROTATED},
    "gray.jpg": {"mode": "L"},
    "cmyk.jpg": {"mode": "CMYK"},
    "image.png": {},
}
SIZES = [(61, 47), (30, 90), (200, 33), (8, 7)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    names = []
    for number, (width, height) in enumerate(SIZES):
        pixels = np.random.default_rng(number).integers(
            0, 256, (height // 4 + 1, width // 4 + 1, 3)
        )
        image = Image.fromarray(pixels.astype(np.uint8)).resize((width, height))
        for name, options in KINDS.items():
            kind = {key: value for key, value in options.items() if key != "mode"}
            names.append(f"{width}x{height}-{name}")
            image.convert(options.get("mode", "RGB")).save(root / names[-1], **kind)
    whole = (root / names[0]).read_bytes()
    for name, content in {
        "cut.jpg": whole[:-40],
        "empty.jpg": b"",
        "header.jpg": whole[:300],
        "ends.jpg": whole[:-40] + b"\xff\xd9",
        "longer.jpg": whole + b"more",
        "text.jpg": b"no image",
    }.items():
        (root / name).write_bytes(content)
        names.append(name)
    return ImageFiles(root, ["a"], [(name, 0) for name in names])


def preprocessing(interpolation, channels=3, image_size=32):
    values = (0.4, 0.5, 0.6)[:channels]
    return Preprocessing(image_size, 0.875, interpolation, values, values)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest", "opencv"])
@pytest.mark.parametrize("augmentation", [CROP_AND_FLIP, EVERYTHING, Augmentation(), None])
def test_samples_are_the_same_to_the_last_bit(source, interpolation, augmentation):
    assert unavailable_reason() is None
    prepared = preprocessing(interpolation)
    whole, parts = (
        ImageDataset(
            source,
            eval_transform(prepared, decode)
            if augmentation is None
            else train_transform(prepared, augmentation, decode),
            seed=7,
        )
        for decode in (None, decode_jpeg)
    )
    for index in range(len(source)):
        for epoch in range(2):
            ours, theirs = parts[epoch, index], whole[epoch, index]
            assert ours.unreadable == theirs.unreadable
            if theirs.image is not None:
                assert torch.equal(ours.image, theirs.image), source.name_of(index)


def test_pixels_normalized_on_the_device_are_the_transforms_floats(source):
    transform = train_transform(preprocessing("bilinear"), Augmentation(), decode_jpeg)
    sample = ImageDataset(source, transform)[0, 1]
    assert (sample.image.dtype, sample.image.shape) == (torch.uint8, (3, 32, 32))
    assert torch.equal(sample.normalization(sample.image), transform(source.load(1)))


def test_gray_networks_get_gray_images(source):
    transform = train_transform(preprocessing("bilinear", channels=1), CROP_AND_FLIP, decode_jpeg)
    assert not transform.takes_files
    assert ImageDataset(source, transform)[0, 0].image.shape == (1, 32, 32)


def test_only_files_that_can_be_decoded_in_part_are_left_undecoded(source):
    found = {}
    for index, name in enumerate(KINDS):
        found[name] = isinstance(source.open(index), JpegFile)
    decoded = {"progressive.jpg", "cmyk.jpg", "image.png"}
    assert {name for name, is_lazy in found.items() if not is_lazy} == decoded


def test_an_orientation_that_cannot_be_read_is_left_to_pillow():
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    image = read_lazily("image.jpg", content=file.getvalue())
    assert isinstance(image, JpegFile)
    assert image.is_upright in (True, False)
