"""`recompute_kernel="auto"` recomputes by the sizes of the images and of the GPU's memory."""

import pytest
import timm
import torch
from torch._subclasses import FakeTensorMode

import rednet  # noqa: F401
from rednet.layers import Involution2d, kernel_memory

GIB = 2**30


@pytest.fixture
def memory(monkeypatch):
    """Return a function that sets the memory of GPUs in bytes."""
    return lambda amount: monkeypatch.setattr(kernel_memory, "gpu_memory", lambda index: amount)


def on_gpu(*shape, dtype=torch.bfloat16):
    with FakeTensorMode():
        return torch.empty(shape, dtype=dtype, device="cuda")


def involutions(model):
    return [module for module in model.modules() if isinstance(module, Involution2d)]


def test_the_default_recomputes_on_a_cpu():
    layer = Involution2d(32)
    assert layer.recompute_kernel == "auto"
    assert layer.recomputes(torch.empty(1, 32, 4, 4))


@pytest.mark.parametrize("choice", [True, False])
def test_a_choice_is_followed(choice, memory):
    layer = Involution2d(32, recompute_kernel=choice)
    for amount in (1, 2**60):
        memory(amount)
        assert layer.recomputes(on_gpu(4, 32, 8, 8)) == choice


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_others_are_refused(value):
    with pytest.raises(ValueError, match=r'must be True, False or "auto", got'):
        Involution2d(32, recompute_kernel=value)


def test_the_bytes_of_a_layer(memory):
    layer = Involution2d(32, kernel_size=3, stride=2)  # alone in its network
    x = on_gpu(4, 32, 7, 8)
    kernel_bytes = 4 * (2 * 9) * (4 * 4) * 2
    memory(10 * kernel_bytes)
    assert not layer.recomputes(x)
    memory(10 * kernel_bytes - 10)
    assert layer.recomputes(x)
    assert layer.recomputes(on_gpu(4, 32, 7, 8, dtype=torch.float32))
    assert not layer.recomputes(on_gpu(3, 32, 7, 8))


def test_all_layers_of_a_network_decide_alike(memory):
    model = timm.create_model("rednet50")
    layers = involutions(model)
    assert sum(layer.kernel_share for layer in layers) == pytest.approx(1)
    sizes = [112] + [56] * 3 + [56] + [28] * 3 + [28] + [14] * 5 + [14] + [7] * 2
    images = 8.9e6 * 256  # bytes of the kernels of a batch of 256 at 224 pixels in 16 bits

    def answers():
        pairs = zip(layers, sizes, strict=True)
        found = {layer.recomputes(on_gpu(256, layer.channels, size, size)) for layer, size in pairs}
        return found | {model.stem._recomputes(on_gpu(256, 3, 224, 224))}

    memory(10 * 0.95 * images)
    assert answers() == {True}
    memory(10 * 1.05 * images)
    assert answers() == {False}
    memory(80 * GIB)
    assert answers() == {False}


def test_without_a_gpu_its_memory_is_none():
    if not torch.cuda.is_available():
        assert kernel_memory.gpu_memory(0) == 0


def test_traces_and_exports_do_not_depend_on_the_memory(memory, monkeypatch):
    memory(2**60)
    for module, name in ((torch.jit, "is_tracing"), (torch.compiler, "is_exporting")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda: True)
            assert Involution2d(32).recomputes(on_gpu(1, 32, 4, 4))
