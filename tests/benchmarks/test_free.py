"""The free involution: a copy, and a kernel generator that still runs."""

import pytest
import torch

import rednet
from benchmarks import free
from benchmarks.network import Setting, make_contenders
from rednet import Involution2d, ops
from rednet.ops import Window

CPU = torch.device("cpu")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "size"), [(1, (6, 5)), (2, (6, 5)), (2, (7, 8))])
def test_the_free_involution_copies(stride, size, layout):
    window = Window(3, stride, 1)
    rows, columns = (window.output_size(side) for side in size)
    input = torch.randn(2, 32, *size).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(2, 18, rows, columns).contiguous(memory_format=layout).requires_grad_()
    with free.free_involution():
        output = rednet.involution2d(input, weight, 3, stride, 1)
        output.backward(torch.ones_like(output))
    assert torch.equal(output, input[..., ::stride, ::stride])
    expected = torch.zeros_like(input)
    expected[..., ::stride, ::stride] = 1
    assert torch.equal(input.grad, expected)
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    for tensor in (output, input.grad, weight.grad):
        assert tensor.is_contiguous(memory_format=layout)
    assert output.untyped_storage().data_ptr() != input.untyped_storage().data_ptr()


def test_the_free_involution_leaves_the_registry_as_it_was():
    known, chosen = ops.registered_backends(), ops.select(CPU, torch.float32)
    with pytest.raises(KeyError), free.free_involution():
        assert ops.select(CPU, torch.float32).name == free.NAME
        raise KeyError
    assert ops.registered_backends() == known
    assert ops.select(CPU, torch.float32) is chosen
    with pytest.raises(ValueError, match="unknown backend 'free'"):
        ops.backend(free.NAME)


def test_the_bound_still_generates_kernels(monkeypatch):
    calls = []
    monkeypatch.setattr(
        Involution2d,
        "apply_kernel",
        lambda self, x, kernel: (
            calls.append(ops.select(x.device, x.dtype).name)
            or rednet.involution2d(x, kernel, *vars(self.window).values())
        ),
    )
    setting = Setting(26, "fp32", "inference", False, 1, 64, CPU, 1, "reference")
    contenders = make_contenders(setting)
    for name in ("rednet", "bound"):
        assert contenders[name]().shape == (1, 1000)
    assert len(calls) == 2 * 9
    assert calls[:9] == ["reference"] * 9
    assert calls[9:] == ["free"] * 9
