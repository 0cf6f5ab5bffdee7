import math
import random

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_tensor

from rednet.data import (
    Augmentation,
    ImageDataset,
    Preprocessing,
    UnreadableImage,
    collate,
    train_transform,
)
from rednet.data.seeding import hash_seed, seeded

PREPROCESSING = Preprocessing(28, 1.0, "bilinear", (0.286,), (0.353,))
CROP_AND_FLIP = Augmentation((0.3, 1.0), (0.75, 4 / 3), 0.5)


class PartlyUnreadable:
    """A source in which the images at the indices ``bad`` cannot be decoded."""

    def __init__(self, source, bad):
        self.source = source
        self.bad = bad
        self.class_names = self.source.class_names
        self.targets = self.source.targets

    def __len__(self):
        return len(self.source)

    def load(self, index):
        if index in self.bad:
            raise UnreadableImage(f"image {index}", "damaged")
        return self.source.load(index)

    def name_of(self, index):
        return self.source.name_of(index)


def random_numbers(_image):
    return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()])


def global_states():
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, keys.tolist(), rest, torch.get_rng_state().tolist()


def test_the_seed_depends_on_every_number_and_its_position():
    seeds = {
        hash_seed(*numbers)
        for numbers in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (0, 12), (0, 1), (1, 0)]
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert hash_seed(0, 1, 2) == hash_seed(0, 1, 2)


@pytest.mark.parametrize("count", [0, 1])
def test_seeding_restores_all_global_generators(count):
    # numpy and Python make normal numbers in pairs: an odd count leaves one in their cache.
    np.random.randn(count)
    [random.gauss(0, 1) for _ in range(count)]
    before = global_states()
    with pytest.raises(RuntimeError), seeded(5):
        assert global_states() != before
        np.random.randn(1)
        raise RuntimeError
    assert global_states() == before


def test_random_numbers_depend_only_on_seed_epoch_and_index(fashion_mnist):
    source = fashion_mnist.val
    keys = [(epoch, index) for epoch in range(3) for index in range(4)]
    data = {seed: ImageDataset(source, random_numbers, seed) for seed in (0, 1)}
    before = global_states()
    values = torch.stack([data[seed][key].image for seed in data for key in keys])
    assert global_states() == before
    assert all(len(column.unique()) == len(values) for column in values.T)
    again = [data[1][key].image for key in reversed(keys)]
    assert torch.equal(torch.stack(again[::-1]), values[len(keys) :])


def test_a_transform_that_does_not_use_numpy_is_as_reproducible(fashion_mnist):
    data = ImageDataset(fashion_mnist.val, train_transform(PREPROCESSING, CROP_AND_FLIP), 0)
    images = [data[0, index].image for index in range(20)]
    np.random.rand(), random.random(), torch.rand(3)
    before = global_states()
    assert all(torch.equal(data[0, index].image, image) for index, image in enumerate(images))
    assert global_states() == before
    assert not any(torch.equal(data[1, index].image, image) for index, image in enumerate(images))


def test_collate_stacks_samples_in_order(fashion_mnist):
    data = ImageDataset(
        PartlyUnreadable(fashion_mnist.val, ()), train_transform(PREPROCESSING, CROP_AND_FLIP), 0
    )
    batch = collate([data[0, index] for index in (3, 1)])
    assert (batch.images.dtype, batch.images.shape) == (torch.uint8, (2, 1, 28, 28))
    assert batch.images[0].tolist() == data[0, 3].image.tolist()
    normalized = batch.normalization(batch.images)
    assert (normalized.dtype, normalized.shape) == (torch.float32, (2, 1, 28, 28))
    assert batch.targets.tolist() == [data.source.targets[3], data.source.targets[1]]
    assert batch.indices.tolist() == [3, 1]
    assert batch.unreadable == []


@pytest.mark.parametrize("keys", [(0, 1, 2), (1,)])
def test_unreadable_images_are_left_out_and_listed(fashion_mnist, keys):
    data = ImageDataset(
        PartlyUnreadable(fashion_mnist.val, (1,)), train_transform(PREPROCESSING, CROP_AND_FLIP), 0
    )
    batch = collate([data[0, index] for index in keys])
    kept = [index for index in keys if index != 1]
    assert batch.unreadable == [(fashion_mnist.val.name_of(1), "damaged")]
    assert batch.indices.tolist() == kept
    assert batch.targets.tolist() == [data.source.targets[index] for index in kept]
    assert len(batch.images) == len(kept)
    assert batch.targets.dtype == batch.indices.dtype == torch.int64


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_image_that_a_transform_makes_infinite_is_unreadable(value, fashion_mnist):
    def transform(image):
        pixels = to_tensor(image)
        pixels[0, 3, 4] = value
        return pixels

    sample = ImageDataset(fashion_mnist.train, transform)[0, 5]
    assert sample.image is None
    assert sample.unreadable == (fashion_mnist.train.name_of(5), "its pixels are not finite")
