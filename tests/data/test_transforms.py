import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from rednet.data import (
    Augmentation,
    Preprocessing,
    eval_transform,
    train_transform,
)
from rednet.data.seeding import seeded
from rednet.data.transforms import PILLOW_INTERPOLATIONS
from rednet.errors import InputError

GRAY = Preprocessing(28, 1.0, "bilinear", (0.286,), (0.353,))
COLOUR = Preprocessing(224, 0.875, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FILTERS = {name: Image.Resampling[name.upper()] for name in PILLOW_INTERPOLATIONS}


def random_image(width, height, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def normalized(image, preprocessing):
    """Return the expected tensor for an image of the final size."""
    pixels = np.atleast_3d(np.asarray(image, np.float64)).transpose(2, 0, 1) / 255
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (preprocessing.mean, preprocessing.std))
    return torch.from_numpy((pixels - mean) / std).float()


def pillow_eval(image, preprocessing):
    """Resize the short side to image_size / crop_pct, crop the centre, normalize."""
    short, crop = int(preprocessing.image_size / preprocessing.crop_pct), preprocessing.image_size
    width, height = image.size
    scale = short / min(width, height)
    size = (int(width * scale + 1e-6), int(height * scale + 1e-6))
    image = image.resize(size, FILTERS[preprocessing.interpolation])
    left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    return normalized(image.crop((left, top, left + crop, top + crop)), preprocessing)


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (256, 256), (97, 500), (640, 480)])
@pytest.mark.parametrize("interpolation", PILLOW_INTERPOLATIONS)
def test_evaluation_is_resize_256_and_centre_crop_224(size, interpolation):
    preprocessing = replace(COLOUR, interpolation=interpolation)
    tensor = eval_transform(preprocessing)(random_image(*size))
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 224, 224))
    torch.testing.assert_close(tensor, pillow_eval(random_image(*size), preprocessing))


def test_evaluation_without_crop_keeps_every_pixel(fashion_mnist):
    image = fashion_mnist.val.load(0)
    tensor = eval_transform(replace(GRAY, mean=(0.0,), std=(1.0,)))(image)
    assert torch.equal((tensor * 255).round().byte()[0], torch.from_numpy(np.array(image)))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("preprocessing", [GRAY, COLOUR], ids=["gray", "colour"])
def test_images_of_any_mode_get_the_channels_of_the_network(mode, preprocessing):
    for transform in (
        eval_transform(preprocessing),
        train_transform(preprocessing, Augmentation()),
    ):
        size = preprocessing.image_size
        tensor = transform(random_image(60, 50, mode))
        assert tensor.shape == (preprocessing.in_chans, size, size)


@pytest.mark.parametrize("interpolation", PILLOW_INTERPOLATIONS)
def test_scale_and_ratio_of_1_resize_the_whole_image(interpolation):
    preprocessing = replace(COLOUR, image_size=32, interpolation=interpolation)
    image = random_image(60, 40)
    tensor = train_transform(preprocessing, Augmentation(scale=[1, 1], ratio=[1, 1]))(image)
    expected = normalized(image.resize((32, 32), FILTERS[interpolation]), preprocessing)
    torch.testing.assert_close(tensor, expected)


def test_random_crop_has_the_given_scale():
    # A ramp from left to right: the spread of the crop shows its width.
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1)))
    augmentation = Augmentation(scale=(0.25, 0.25), ratio=(1.0, 1.0))
    transform = train_transform(Preprocessing(50, 1.0, "nearest", (0.0,), (1.0,)), augmentation)
    crops = torch.stack([transform(ramp) for _ in range(20)])
    width = (crops.amax((1, 2, 3)) - crops.amin((1, 2, 3))) * 255
    assert torch.all((width > 95) & (width < 100))
    assert len(crops.amin((1, 2, 3)).unique()) > 5


@pytest.mark.parametrize(("probability", "flipped"), [(0.0, False), (1.0, True)])
def test_flip_probability(fashion_mnist, probability, flipped):
    image = fashion_mnist.val.load(0)
    tensor = train_transform(GRAY, Augmentation(hflip=probability))(image)
    expected = normalized(image, GRAY)
    torch.testing.assert_close(tensor, expected.flip(2) if flipped else expected)


def test_erased_rectangle_is_filled_with_the_mean():
    image = Image.new("L", (28, 28), 255)
    tensor = train_transform(GRAY, Augmentation(random_erasing=1.0))(image)
    assert 0.01 < (tensor == 0).float().mean() < 0.4
    assert len(tensor.unique()) == 2


@pytest.mark.parametrize("auto_augment", [None, "rand-m1-n1"])
def test_colour_jitter_alone_and_with_a_policy(auto_augment):
    image = Image.new("RGB", (28, 28), (120, 120, 120))
    augmentation = Augmentation(color_jitter=0.4, auto_augment=auto_augment)
    transform = train_transform(COLOUR, augmentation)
    with seeded(0):
        means = torch.stack([transform(image).mean() for _ in range(20)])
    assert len(means.unique()) > 15


@pytest.mark.parametrize("jitter", [None, 0, 0.0])
def test_colour_jitter_off(jitter):
    image = random_image(28, 28, "L")
    tensor = train_transform(GRAY, Augmentation(color_jitter=jitter))(image)
    torch.testing.assert_close(tensor, normalized(image, GRAY))


EVERYTHING = Augmentation((0.3, 1.0), (0.75, 4 / 3), 0.5, 0.4, "rand-m9-mstd0.5", 0.5)


@pytest.mark.parametrize("preprocessing", [GRAY, COLOUR], ids=["gray", "colour"])
def test_transforms_depend_only_on_the_seed_also_after_pickling(preprocessing):
    transform = train_transform(preprocessing, EVERYTHING)
    copy = pickle.loads(pickle.dumps(transform))
    image = random_image(40, 30)
    results = []
    for call in (transform, copy, transform):
        with seeded(7):
            results.append(call(image))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    with seeded(8):
        assert not torch.equal(results[0], transform(image))


def test_preprocessing_converts_lists_to_tuples_of_floats():
    preprocessing = Preprocessing(28, 1.0, "bilinear", [0], [1])
    assert preprocessing.in_chans == 1
    assert asdict(preprocessing) == {
        "image_size": 28,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.0,),
        "std": (1.0,),
    }
    assert preprocessing == Preprocessing(**asdict(preprocessing))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (0.5,)}, "have wrong lengths"),
        ({"mean": (0.5, 0.5), "std": (1, 1)}, "one number each for gray, or three"),
        ({"interpolation": "cubic"}, "'cubic': choose bilinear, bicubic, nearest, lanczos"),
    ],
)
def test_impossible_preprocessing_is_an_input_error(change, message):
    with pytest.raises(InputError, match=message):
        replace(COLOUR, **change)
