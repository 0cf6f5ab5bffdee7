"""trainer.find_batch_size: found once, kept on resumption, without a trace in the run."""

from dataclasses import replace
from functools import cache

import pytest
import torch
import yaml

from rednet import commands
from rednet.build import batch_size
from rednet.build.batch_size import settle_batch_size
from rednet.build.data import build_splits
from rednet.cgroup import memory_left
from rednet.config import compose
from rednet.errors import InputError
from rednet.runtime import Runtime
from rednet.training.step import TrainStep

TINY = (
    *("model=timm", "model.name=test_resnet", "schedule=constant", "schedule.epochs=2"),
    *("data=fashion_mnist", "data.train_samples=43", "data.val_samples=10", "data.image_size=32"),
    *("trainer.device=cpu", "data.num_workers=0", "trainer.find_batch_size=true"),
)


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets the free memory, of which an image takes a MB."""

    def free(megabytes):
        now = batch_size.resident_bytes()
        sizes = []

        def run(probe, size):
            sizes.append(size)

        monkeypatch.setattr(batch_size, "free_bytes", lambda: int(megabytes * 1e6 / 0.8))
        monkeypatch.setattr(batch_size, "resident_bytes", lambda: now)
        monkeypatch.setattr(batch_size, "peak_bytes", lambda: now + sizes[-1] * 10**6)
        monkeypatch.setattr(batch_size._Probe, "run", run)
        return sizes

    return free


@cache
def opened(*overrides):
    config = compose("train", [*TINY, *overrides])
    return config, build_splits(config.data, config.seed)


def settle(*overrides):
    config, splits = opened(*overrides)
    return settle_batch_size(config, None, splits, Runtime())


def test_the_size_is_that_of_the_memory_and_of_the_data(free):
    tried = free(30.5)
    config = settle()
    assert config.data.batch_size == 30
    assert not config.trainer.find_batch_size
    assert max(tried) <= 16
    free(1000)
    assert settle().data.batch_size == 43
    assert settle("trainer.grad_accum_steps=4").data.batch_size == 10
    free(0.5)
    with pytest.raises(InputError, match="not even one image fits into the memory"):
        settle()


def test_no_step_is_left_with_a_single_image(free):
    free(21.5)
    assert settle().data.batch_size == 20  # 43 = 2 * 21 + 1


def test_a_gpu_is_asked_until_it_refuses(monkeypatch):
    sizes = []

    def run(probe, size):
        sizes.append(size)
        if size > 19:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(batch_size._Probe, "run", run)
    monkeypatch.setattr(batch_size, "_extrapolate", batch_size._try)
    assert settle().data.batch_size == 19
    assert sizes == [8, 16, 32, 24, 20, 18, 19]


def test_any_other_error_is_not_taken_for_want_of_memory(monkeypatch):
    def run(probe, size):
        raise RuntimeError("a bug")

    monkeypatch.setattr(batch_size._Probe, "run", run)
    monkeypatch.setattr(batch_size, "_extrapolate", batch_size._try)
    with pytest.raises(RuntimeError, match="a bug"):
        settle()


def test_processes_take_the_smallest(free, monkeypatch):
    free(30.5)
    monkeypatch.setattr(Runtime, "gather", lambda self, value: [value, 12])
    config, splits = opened()
    found = settle_batch_size(config, None, splits, replace(Runtime(), world_size=2))
    assert found.data.batch_size == 12


def test_a_real_search_leaves_the_random_generators_alone(monkeypatch):
    monkeypatch.setattr(batch_size, "LARGEST_TRIAL", 4)
    before = torch.get_rng_state()
    assert settle("trainer.ema_decay=0.9").data.batch_size > 1
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_writes_the_size_scales_the_rate_and_keeps_both(tmp_path, monkeypatch, capsys, free):
    monkeypatch.chdir(tmp_path)
    free(20)
    monkeypatch.setattr(batch_size._Probe, "run", lambda probe, size: None)
    monkeypatch.setattr(batch_size, "_find", lambda *_: (16, "as a test says"))
    rates = []
    step = TrainStep.__call__

    def watched(self, batches, lr, counts=()):
        rates.append((lr, len(batches[0].targets)))
        return step(self, batches, lr, counts)

    monkeypatch.setattr(TrainStep, "__call__", watched)
    argv = [*TINY, "output_dir=run", "optimizer.lr=0.01", "optimizer.lr_base_size=32"]
    assert commands.train([*argv, "trainer.max_steps=1"]) == 0
    assert rates == [(0.005, 16)]
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert config["data"]["batch_size"] == 16
    assert config["trainer"]["find_batch_size"] is False
    monkeypatch.setattr(batch_size, "_find", lambda *_: pytest.fail("searched again"))
    capsys.readouterr()
    assert commands.train([*argv, "trainer.max_steps=2"]) == 0
    assert "data.batch_size=16 (as in the run that is continued)" in capsys.readouterr().out
    assert rates == [(0.005, 16)] * 2


def test_what_a_control_group_leaves(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    groups = tmp_path / "groups"
    groups.write_text("0::/a/b\n")
    assert memory_left(tmp_path, groups) is None
    (tmp_path / "a/memory.max").write_text("1000\n")
    (tmp_path / "a/memory.current").write_text("700\n")
    (tmp_path / "a/memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert memory_left(tmp_path, groups) == 450
    (tmp_path / "a/b/memory.max").write_text("max\n")
    assert memory_left(tmp_path, groups) == 450
