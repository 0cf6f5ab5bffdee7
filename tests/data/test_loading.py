import os
import random

import numpy as np
import pytest
import torch

from rednet.data import (
    Augmentation,
    EvalSampler,
    ImageDataset,
    ImageLoader,
    Preprocessing,
    TrainSampler,
    balanced_subset,
    default_num_workers,
    eval_transform,
    loading,
    open_image_folder,
    train_transform,
)
from rednet.data.loading import usable_cores

PREPROCESSING = Preprocessing(28, 1.0, "bilinear", (0.286,), (0.353,))
EVERYTHING = Augmentation((0.3, 1.0), (0.75, 4 / 3), 0.5, 0.4, "rand-m9-mstd0.5", 0.5)


def load_epochs(train, num_workers, epochs=(0, 1), start_step=0):
    """Return the batches of several epochs from one loader with persistent workers."""
    source = balanced_subset(train, 50)
    dataset = ImageDataset(source, train_transform(PREPROCESSING, EVERYTHING), seed=3)
    sampler = TrainSampler(len(dataset), 8, seed=3)
    loader = ImageLoader(dataset, sampler, num_workers=num_workers, pin_memory=False)
    loaded = []
    for epoch in epochs:
        sampler.set_epoch(epoch, start_step)
        loaded += list(loader)
    return loaded


def equal(batches, others):
    pairs = zip(batches, others, strict=True)
    return all(
        torch.equal(a, b) for one, two in pairs for a, b in zip(one[:3], two[:3], strict=True)
    )


def test_samples_are_the_same_at_any_number_of_workers(fashion_mnist):
    alone = load_epochs(fashion_mnist.train, 0)
    assert [len(batch.images) for batch in alone] == [8, 8, 8, 8, 8, 8, 2] * 2
    random.random(), np.random.rand(), torch.rand(1)
    assert equal(alone, load_epochs(fashion_mnist.train, 2))
    assert not equal(alone[:7], alone[7:])


def test_the_rest_of_a_later_epoch_is_the_same_in_a_new_loader(fashion_mnist):
    rest = load_epochs(fashion_mnist.train, 2, epochs=(1,), start_step=3)
    assert equal(load_epochs(fashion_mnist.train, 0)[7 + 3 :], rest)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_leaves_the_global_generators_alone(fashion_mnist, num_workers):
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    load_epochs(fashion_mnist.train, num_workers)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before


def test_evaluation_covers_the_source_in_order(fashion_mnist):
    source = balanced_subset(fashion_mnist.val, 25)
    dataset = ImageDataset(source, eval_transform(PREPROCESSING))
    loader = ImageLoader(dataset, EvalSampler(25, 10), num_workers=2, pin_memory=False)
    batches = list(loader)
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(25))
    assert torch.cat([batch.targets for batch in batches]).tolist() == list(source.targets)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_file_reaches_the_batch_by_name(make_images, num_workers):
    root = make_images("val/a/1.png", "val/a/2.png", "val/b/3.png")
    with open(f"{root}/val/a/2.png", "r+b") as file:
        file.truncate(60)
    source = open_image_folder(root, val_fraction=0.1, seed=0).val
    dataset = ImageDataset(source, eval_transform(PREPROCESSING))
    loader = ImageLoader(dataset, EvalSampler(3, 3), num_workers=num_workers, pin_memory=False)
    (batch,) = loader
    assert (batch.indices.tolist(), batch.targets.tolist()) == ([0, 2], [0, 1])
    assert [name for name, _ in batch.unreadable] == [f"{root}/val/a/2.png"]


def count_threads(_image):
    return torch.tensor(torch.get_num_threads())


def test_workers_use_one_thread(fashion_mnist):
    dataset = ImageDataset(fashion_mnist.val, count_threads)
    loader = ImageLoader(dataset, EvalSampler(4, 2), num_workers=1, pin_memory=False)
    assert all(batch.images.tolist() == [1, 1] for batch in loader)


def test_workers_tell_how_long_they_take_for_an_image(fashion_mnist):
    dataset = ImageDataset(fashion_mnist.val, eval_transform(PREPROCESSING))
    with ImageLoader(dataset, EvalSampler(4, 2), num_workers=1) as loader:
        assert loader.seconds_per_image is None
        assert len(list(loader)) == 2
        assert 0 < loader.seconds_per_image < 60


def test_default_number_of_workers(monkeypatch):
    monkeypatch.setattr(loading, "core_limit", lambda: None)
    assert 1 <= default_num_workers() <= min(8, os.cpu_count())
    cores = usable_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert usable_cores() == max(1, cores // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setattr(loading, "core_limit", lambda: 0.5)
    assert default_num_workers() == usable_cores() == 1
