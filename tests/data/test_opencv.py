"""The original's pixels: OpenCV's bilinear interpolation, against the formula and PyTorch's."""

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


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def levels(image: Image.Image) -> Tensor:
    """(channels, H, W) from 0 to 255."""
    pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
    return pixels.permute(2, 0, 1).double()


def four_pixels(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values[None], size=size, mode="bilinear", antialias=False)[0]


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (256, 256), (97, 500), (640, 480)])
def test_evaluation_is_resize_256_without_antialiasing_and_centre_crop_224(size):
    image = picture(*size)
    short = min(size)
    width, height = (int(256 * side / short) for side in size)
    resized = four_pixels(levels(image), (height, width))
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    expected = resized[:, top : top + 224, left : left + 224]
    found = eval_transform(RAW)(image) * 255
    assert found.shape == (3, 224, 224)
    # OpenCV rounds its coefficients to 11 bits and the result to a whole level.
    assert (found - expected).abs().max() < 1.01


def test_shrinking_looks_at_four_pixels_alone():
    """Pillow averages stripes to gray, as it should; the original saw one of them."""
    stripes = Image.fromarray(np.tile(np.array([255, 0, 0, 255], np.uint8), (512, 128)))
    assert np.asarray(OpenCVResize(128)(stripes)).max() == 0
    smooth = np.asarray(stripes.resize((128, 128), Image.Resampling.BILINEAR))
    assert smooth.min() > 100 and smooth.max() < 155


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("preprocessing", [GRAY, RAW], ids=["gray", "colour"])
def test_pictures_of_any_mode(mode, preprocessing):
    tensor = eval_transform(preprocessing)(picture(60, 50, mode))
    size = preprocessing.image_size
    assert tensor.shape == (preprocessing.in_chans, size, size)


def test_training_without_a_crop_resizes_the_whole_picture():
    image = picture(60, 40, "L")
    tensor = train_transform(GRAY, Augmentation())(image) * 255
    assert (tensor - four_pixels(levels(image), (32, 32))).abs().max() < 1.01


def test_training_crops_the_rectangles_that_pillow_would():
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1)))
    augmentation = Augmentation(scale=(0.2, 0.5), ratio=(0.75, 4 / 3))
    both = [replace(GRAY, interpolation=name) for name in ("opencv", "bilinear")]
    transforms = [train_transform(preprocessing, augmentation) for preprocessing in both]
    for seed in range(5):
        crops = []
        for transform in transforms:
            with seeded(seed):
                crops.append(transform(ramp) * 255)
        assert (crops[0] - crops[1]).abs().max() < 2  # of a ramp, all interpolations are alike


@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_are_turned_as_opencv_turns_them(orientation, tmp_path):
    cv2 = pytest.importorskip("cv2")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(60, 40).save(tmp_path / "a.jpg", exif=exif, quality=95)
    decoded = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_COLOR)[:, :, ::-1]
    upright = Image.fromarray(np.ascontiguousarray(decoded))
    turned = read_image(tmp_path / "a.jpg")
    assert torch.equal(eval_transform(RAW)(turned), eval_transform(RAW)(upright))
    crops = []
    for image in (turned, upright):
        with seeded(3):
            crops.append(train_transform(RAW, Augmentation(scale=(0.2, 0.5)))(image))
    assert torch.equal(*crops)


def test_it_survives_pickling():
    transform = eval_transform(RAW)
    image = picture(60, 50)
    assert torch.equal(pickle.loads(pickle.dumps(transform))(image), transform(image))


def test_without_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="opencv needs OpenCV: pip install opencv-python-headl"):
        eval_transform(RAW)
