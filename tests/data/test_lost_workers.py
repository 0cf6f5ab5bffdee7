"""Whatever becomes of the workers, the batches are the same, or say why there are none."""

import multiprocessing.connection
import os
import signal
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils import signal_handling

from rednet.data import EvalSampler, ImageDataset, ImageLoader, Preprocessing, eval_transform

PREPROCESSING = Preprocessing(8, 1.0, "bilinear", (0.286,), (0.353,))
COUNT, BATCH = 24, 4


class Misfortune:
    """A source on one of whose images something happens to the process that reads it.

    Args:
        source: The images.
        index: Index of the image.
        act: What happens.
        times: How often it happens, counted in a file, since the processes share no memory.
        counter: The file.
    """

    def __init__(self, source, index, act, times, counter):
        self.source, self.index, self.act, self.times, self.counter = (
            *(source, index, act, times, counter),
        )
        self.targets = source.targets

    def __len__(self):
        return COUNT

    def name_of(self, index):
        return f"image {index}"

    def load(self, index):
        if index == self.index and len(self.read_counter()) < self.times:
            with self.counter.open("a") as file:
                file.write("x")
            self.act()
        return self.source.load(index)

    def read_counter(self):
        return self.counter.read_text() if self.counter.exists() else ""


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def leave():
    os._exit(3)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def hang():
    time.sleep(3600)


def run_out():
    raise MemoryError


@pytest.fixture
def load(fashion_mnist, tmp_path):
    """Load everything twice with two workers, to one of which something happens."""

    def load(act=leave, times=0, max_restarts=3, num_workers=2):
        source = Misfortune(fashion_mnist.val, 13, act, times, tmp_path / "counter")
        dataset = ImageDataset(source, eval_transform(PREPROCESSING))
        options = {"num_workers": num_workers, "max_restarts": max_restarts, "timeout": 1.0}
        loader = ImageLoader(dataset, EvalSampler(COUNT, BATCH), **options)
        return loader, [*loader, *loader]

    return load


@pytest.fixture
def plain(load):
    return load(num_workers=0)[1]


def assert_equal(batches, others):
    for one, other in zip(batches, others, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.indices.tolist() == other.indices.tolist()
        assert one[3:] == other[3:]


CAUSES = {
    kill: "was killed (SIGKILL), perhaps for want of memory",
    crash: "crashed (SIGSEGV)",
    leave: "ended with exit code 3",
    stop: "is stopped, data.timeout=1 seconds have passed",
    hang: "does not get on, data.timeout=1 seconds have passed",
}


@pytest.mark.parametrize("act", CAUSES)
def test_a_lost_worker_is_named_and_replaced_and_nothing_changes(act, load, plain, capsys):
    saved = []
    loader, batches = load(act, times=1)
    loader.before_restart = lambda: saved.append(1)
    assert_equal(batches, plain)
    (warning,) = capsys.readouterr().out.splitlines()
    line = f"a data loading worker {CAUSES[act]}, while it read image 13; "
    assert warning.startswith(f"warning: {line}new ones continue (1 of 3)")


def test_an_image_that_costs_a_second_worker_is_unreadable(load, plain):
    loader, batches = load(crash, times=9)
    assert loader.restarts == 2
    lost = [image for batch in batches for image in batch.unreadable]
    assert lost == 2 * [("image 13", "it has cost 2 workers: the last one crashed (SIGSEGV)")]
    kept = [batch.indices.tolist() for batch in batches]
    assert np.concatenate(kept).tolist() == 2 * [i for i in range(COUNT) if i != 13]


def test_once_all_replacements_are_used_up_the_batches_say_so(load, plain):
    _, batches = load(leave, times=9, max_restarts=1)
    done = [batch for batch in batches if not batch.failure]
    assert len(done) <= 3
    assert_equal(done, plain[: len(done)])
    failure = "a data loading worker ended with exit code 3, while it read image 13; "
    assert {batch.failure for batch in batches[len(done) :]} == {
        f"{failure}data.max_worker_restarts=1 are used up"
    }
    assert sum(len(batch.images) for batch in batches[len(done) :]) == 0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_no_memory_to_load_is_a_failure_with_advice(num_workers, load):
    _, batches = load(run_out, times=9, num_workers=num_workers)
    assert batches[-1].failure.startswith("out of memory")
    assert "data.batch_size=2 instead of 4 takes about half" in batches[-1].failure


def test_workers_that_die_between_epochs_or_while_nothing_is_waited_for(fashion_mnist, plain):
    """The handler that torch installs would raise an error in the middle of a step."""
    before = signal.getsignal(signal.SIGCHLD)
    dataset = ImageDataset(fashion_mnist.val, eval_transform(PREPROCESSING))
    loader = ImageLoader(dataset, EvalSampler(COUNT, BATCH), num_workers=2, max_restarts=2)
    batches = []
    for _ in range(2):
        for batch in loader:
            batches.append(batch)
            if len(batches) == 1:
                loader._pool._workers[0].kill()
                loader._pool._workers[0].join()
        loader._pool._workers[1].kill()
        loader._pool._workers[1].join()
    assert signal.getsignal(signal.SIGCHLD) == before
    assert_equal(batches, plain)
    assert loader.restarts == 2


def test_another_loader_of_the_process_does_not_look_after_the_workers(
    fashion_mnist, plain, monkeypatch
):
    """It would raise their end as an error, even when they are closed."""
    before = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    try:
        list(DataLoader(range(2), num_workers=1))
        assert signal.getsignal(signal.SIGCHLD) != before
        dataset = ImageDataset(fashion_mnist.val, eval_transform(PREPROCESSING))
        loader = ImageLoader(dataset, EvalSampler(COUNT, BATCH), num_workers=2, max_restarts=1)
        batches = list(loader)
        worker = loader._pool._workers[0]
        worker.kill()
        multiprocessing.connection.wait([worker.sentinel])
        batches += loader
        assert loader.restarts == 1
        loader.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert_equal(batches, plain)
