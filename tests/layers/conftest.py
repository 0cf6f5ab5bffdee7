from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from rednet import Involution2d


class KernelRecord:
    """Records whether the kernels that a layer generated are still in memory.

    A hook would switch the recomputation off, so the generator's class is patched.
    """

    def __init__(self, layer: Involution2d, patch: pytest.MonkeyPatch) -> None:
        self._storages: list[StorageWeakRef] = []
        forward = type(layer.conv2).forward

        def recorded(module: nn.Module, source: Any) -> Tensor:
            kernel = forward(module, source)
            if module is layer.conv2:
                self._storages.append(StorageWeakRef(kernel.untyped_storage()))
            return kernel

        patch.setattr(type(layer.conv2), "forward", recorded)

    @property
    def generated(self) -> int:
        return len(self._storages)

    @property
    def kept(self) -> bool:
        return any(not storage.expired() for storage in self._storages)


@pytest.fixture
def record(monkeypatch) -> Callable[[Involution2d], KernelRecord]:
    return lambda layer: KernelRecord(layer, monkeypatch)


@pytest.fixture
def make_layer() -> Callable[..., Involution2d]:
    """Return a function that makes the same layer every time."""

    def make(*args, **options):
        torch.manual_seed(0)
        return Involution2d(*args, **options)

    return make


@pytest.fixture(scope="session")
def backward() -> Callable[..., dict[str, Tensor]]:
    """Return a function for the output and all gradients of a module."""

    def run(module, x, weigh=torch.sin):
        x = x.detach().clone().requires_grad_()
        output = module(x)
        module.zero_grad()
        weigh(output.float()).sum().backward()
        gradients = {name: p.grad for name, p in module.named_parameters()}
        return {"output": output.detach(), "input": x.grad, **gradients}

    return run
