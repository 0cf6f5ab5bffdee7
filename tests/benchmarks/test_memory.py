"""Peak memory against a tensor of known size."""

from pathlib import Path

import pytest
import torch

from benchmarks import memory

CPU = torch.device("cpu")


def grow(size):
    memory.return_freed_memory()

    def work():
        torch.ones(size, dtype=torch.uint8)

    work()
    return memory.peak_growth(work, CPU)


@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="needs Linux's count of pages")
def test_peak_memory_of_one_tensor(monkeypatch):
    # The other process imports this file, by the name that pytest gave it.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    size = 50 * 2**20
    assert memory.in_own_process(grow, size) == pytest.approx(size, rel=0.05)
