from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from rednet import Involution2d


class KernelRecord:
    """Records whether the kernels that a layer generated are still in memory."""

    def __init__(self, layer: Involution2d) -> None:
        self._storages: list[StorageWeakRef] = []
        layer.conv2.register_forward_hook(self._note)

    def _note(self, module: nn.Module, inputs: tuple, kernel: Tensor) -> None:
        self._storages.append(StorageWeakRef(kernel.untyped_storage()))

    @property
    def generated(self) -> int:
        return len(self._storages)

    @property
    def kept(self) -> bool:
        return any(not storage.expired() for storage in self._storages)


@pytest.fixture(scope="session")
def record() -> type[KernelRecord]:
    return KernelRecord


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
