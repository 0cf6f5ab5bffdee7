import random

import numpy as np
import torch

from rednet.training.mixing import Mixing


def batch(samples):
    images = torch.arange(samples, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return images.clone(), torch.arange(samples) % 5


def test_targets_are_probabilities_that_follow_the_images():
    images, targets = Mixing(1.0, 0.0, 0.0, 5)(*batch(4), 0)
    share = images[0, 0, 0, 0] / 3  # images 0 and 3 are blended: the value says how much
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    torch.testing.assert_close(targets[0, 3], share)
    torch.testing.assert_close(targets[0, 0], 1 - share)


def test_an_odd_batch_leaves_its_last_image_alone():
    images, targets = Mixing(0.5, 0.5, 0.1, 5)(*batch(5), 3)
    assert images.shape == (5, 1, 8, 8)
    assert images[4].eq(4).all()
    torch.testing.assert_close(targets[4], torch.tensor([0.02, 0.02, 0.02, 0.02, 0.92]))


def test_one_image_stays_as_it_is():
    images, targets = Mixing(1.0, 1.0, 0.0, 5)(*batch(1), 0)
    assert images.eq(0).all()
    assert targets.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


def test_draws_depend_on_the_moment_and_rank_alone():
    def run(moment, rank=0):
        return Mixing(1.0, 1.0, 0.0, 5, seed=1, rank=rank)(*batch(8), *moment)[0]

    first = run((3, 0))
    np.random.seed(99), random.seed(99), torch.manual_seed(99)
    before = np.random.get_state()[1].copy()
    assert torch.equal(run((3, 0)), first)
    assert np.array_equal(np.random.get_state()[1], before)
    assert not torch.equal(run((3, 1)), first)
    assert not torch.equal(run((3, 0), rank=1), first)
