"""Resizing with OpenCV, as the original code did, against PyTorch's bilinear interpolation."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rednet.data import (
    Augmentation,
    Preprocessing,
    eval_transform,
    read_image,
    train_transform,
)
from rednet.data.opencv import OpenCVResize
from rednet.data.seeding import seeded
from rednet.errors import InputError

pytest.importorskip("cv2", reason="needs pip install opencv-python-headless")

RAW = Preprocessing(224, 0.875, "opencv", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
GRAY = Preprocessing(32, 1.0, "opencv", (0.0,), (1.0,))


def random_image(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def pixels_of(image: Image.Image) -> Tensor:
    """Return the pixels (channels, H, W) from 0 to 255."""
    pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
    return pixels.permute(2, 0, 1).double()


def resize_bilinear(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values[None], size=size, mode="bilinear", antialias=False)[0]


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (256, 256), (97, 500), (640, 480)])
def test_evaluation_is_resize_256_without_antialiasing_and_centre_crop_224(size):
    image = random_image(*size)
    short = min(size)
    width, height = (int(256 * side / short) for side in size)
    resized = resize_bilinear(pixels_of(image), (height, width))
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    expected = resized[:, top : top + 224, left : left + 224]
    found = eval_transform(RAW)(image) * 255
    assert found.shape == (3, 224, 224)
    # OpenCV rounds its coefficients to 11 bits and the result to a whole level.
    assert (found - expected).abs().max() < 1.01


def test_shrinking_reads_only_four_pixels():
    """Pillow averages the stripes to gray; OpenCV reads one of them."""
    stripes = Image.fromarray(np.tile(np.array([255, 0, 0, 255], np.uint8), (512, 128)))
    assert np.asarray(OpenCVResize(128)(stripes)).max() == 0
    smooth = np.asarray(stripes.resize((128, 128), Image.Resampling.BILINEAR))
    assert smooth.min() > 100 and smooth.max() < 155


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("preprocessing", [GRAY, RAW], ids=["gray", "colour"])
def test_images_of_any_mode(mode, preprocessing):
    tensor = eval_transform(preprocessing)(random_image(60, 50, mode))
    size = preprocessing.image_size
    assert tensor.shape == (preprocessing.in_chans, size, size)


def test_training_without_a_crop_resizes_the_whole_image():
    image = random_image(60, 40, "L")
    tensor = train_transform(GRAY, Augmentation())(image) * 255
    assert (tensor - resize_bilinear(pixels_of(image), (32, 32))).abs().max() < 1.01


def test_training_crops_the_same_rectangles_as_with_pillow():
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1)))
    augmentation = Augmentation(scale=(0.2, 0.5), ratio=(0.75, 4 / 3))
    both = [replace(GRAY, interpolation=name) for name in ("opencv", "bilinear")]
    transforms = [train_transform(preprocessing, augmentation) for preprocessing in both]
    for seed in range(5):
        crops = []
        for transform in transforms:
            with seeded(seed):
                crops.append(transform(ramp) * 255)
        assert (crops[0] - crops[1]).abs().max() < 2  # all interpolations of a ramp are alike


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_rotated_as_opencv_does(orientation, tmp_path):
    cv2 = pytest.importorskip("cv2")
    exif = Image.Exif()
    exif[0x0112] = orientation
    random_image(60, 40).save(tmp_path / "a.jpg", exif=exif, quality=95)
    decoded = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_COLOR)[:, :, ::-1]
    upright = Image.fromarray(np.ascontiguousarray(decoded))
    rotated = read_image(tmp_path / "a.jpg")
    assert torch.equal(eval_transform(RAW)(rotated), eval_transform(RAW)(upright))
    crops = []
    for image in (rotated, upright):
        with seeded(3):
            crops.append(train_transform(RAW, Augmentation(scale=(0.2, 0.5)))(image))
    assert torch.equal(*crops)


def test_pickling():
    transform = eval_transform(RAW)
    image = random_image(60, 50)
    assert torch.equal(pickle.loads(pickle.dumps(transform))(image), transform(image))


def test_a_missing_opencv_is_an_input_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="opencv needs OpenCV: pip install opencv-python-headl"):
        eval_transform(RAW)
