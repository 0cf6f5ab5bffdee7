"""The sampler that shows each class equally often."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from rednet.data import ImageDataset, TrainSampler

TARGETS = [0] * 50 + [1] * 5 + [3] * 21  # class 2 has no samples


def epoch(targets=TARGETS, epoch=0, start=0, world_size=1, accum=1, seed=0):
    """The keys of each step of an epoch, those of all ranks in turn."""
    steps = []
    for rank in range(world_size):
        sampler = TrainSampler(
            len(targets),
            8 // world_size // accum,
            grad_accum_steps=accum,
            rank=rank,
            world_size=world_size,
            seed=seed,
            targets=targets,
        )
        sampler.set_epoch(epoch, start)
        batches = iter(sampler)
        for step in range(start, sampler.steps_per_epoch):
            keys = [k for _ in range(sampler.micro_batches(step)) for k in next(batches)]
            steps.append((step, rank, keys))
    return steps


def flat(steps):
    return [key for _, _, keys in steps for key in keys]


def by_step(steps):
    """All keys of each step."""
    found = {}
    for step, _, keys in steps:
        found[step] = sorted(found.get(step, []) + keys)
    return found


def test_each_class_is_shown_equally_often():
    for number in range(5):
        keys = flat(epoch(epoch=number))
        assert len(keys) == len(TARGETS)
        classes = Counter(TARGETS[key[1]] for key in keys)
        assert sorted(classes.values()) == [25, 25, 26]
        images = Counter(key[1] for key in keys)
        for label in classes:
            times = [images[i] for i, target in enumerate(TARGETS) if target == label]
            assert max(times) - min(times) <= 1


def test_every_key_is_new():
    keys = flat(epoch())
    assert len(set(keys)) == len(keys)
    assert {key[2] for key in keys if len(key) == 3} >= {1, 2, 3, 4}


def test_large_classes_are_seen_whole_after_some_epochs():
    seen = {key[1] for number in range(12) for key in flat(epoch(epoch=number))}
    assert seen == set(range(len(TARGETS)))


@pytest.mark.parametrize(("world_size", "accum"), [(2, 1), (4, 1), (2, 2), (1, 4)])
def test_a_step_has_the_same_samples_at_any_number_of_ranks(world_size, accum):
    one = by_step(epoch(epoch=3))
    many = by_step(epoch(epoch=3, world_size=world_size, accum=accum))
    last = max(one)
    assert {s: k for s, k in many.items() if s < last} == {s: k for s, k in one.items() if s < last}
    assert set(many[last]) == set(one[last])


def test_an_epoch_continues_from_any_step():
    whole = epoch(epoch=2)
    for start in range(len(whole)):
        assert epoch(epoch=2, start=start) == whole[start:]


def test_epochs_and_seeds_differ():
    assert flat(epoch(epoch=1)) != flat(epoch(epoch=0))
    assert flat(epoch(seed=1)) != flat(epoch())


def test_equal_classes_are_shuffled_as_ever():
    targets = [0, 1, 2] * 8
    plain = TrainSampler(24, 8)
    assert flat(epoch(targets)) == [key for batch in plain for key in batch]


class Noise:
    """A transform that draws."""

    def __call__(self, image):
        return torch.rand(1)


class OneImage:
    targets = (0,)

    def __len__(self):
        return 1

    def load(self, index):
        return Image.fromarray(np.zeros((2, 2), np.uint8))


def test_an_image_that_is_shown_again_is_augmented_anew():
    dataset = ImageDataset(OneImage(), Noise())
    views = [dataset[key].image.item() for key in ((0, 0), (0, 0, 1), (0, 0, 2), (1, 0))]
    assert len(set(views)) == 4
    assert dataset[(0, 0, 1)].image.item() == views[1]
