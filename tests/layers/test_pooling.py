"""CeilAvgPool2d equals nn.AvgPool2d(ceil_mode=True)."""

import pytest
import torch
from torch import nn

from rednet.layers.pooling import CeilAvgPool2d

SIZES = [(1, 1), (1, 2), (2, 3), (5, 4), (6, 9), (7, 7), (25, 33)]


def value_and_gradient(pool, x):
    x = x.detach().clone().requires_grad_()
    output = pool(x)
    (gradient,) = torch.autograd.grad(output.sin().sum(), x)
    return output, gradient


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_value_and_gradient(size, stride):
    x = torch.randn(2, 3, *size).double()
    theirs = nn.AvgPool2d(stride, ceil_mode=True)
    ours = CeilAvgPool2d(stride)
    torch.testing.assert_close(value_and_gradient(ours, x), value_and_gradient(theirs, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_layout_are_kept(dtype, layout):
    x = torch.randn(2, 8, 7, 6).contiguous(memory_format=layout).to(dtype)
    output = CeilAvgPool2d(2)(x)
    assert output.dtype == dtype
    assert output.is_contiguous(memory_format=layout)
    expected = nn.AvgPool2d(2, ceil_mode=True)(x.double())
    torch.testing.assert_close(output.double(), expected, rtol=1e-2, atol=1e-3)


def test_the_largest_halves_have_an_average():
    x = torch.full((1, 1, 3, 3), 65504.0, dtype=torch.float16)
    assert CeilAvgPool2d(2)(x).unique().item() == 65504


def test_even_sizes_have_the_bits_of_torch():
    x = torch.randn(2, 3, 6, 8)
    assert torch.equal(CeilAvgPool2d(2)(x), nn.AvgPool2d(2)(x))


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.nightly)]
)
@pytest.mark.parametrize("size", [(7, 5), (8, 6)])
def test_compiled(size, backend):
    torch._dynamo.reset()
    x = torch.randn(2, 3, *size)
    pool = CeilAvgPool2d(2)
    compiled = torch.compile(pool, fullgraph=True, backend=backend)
    torch.testing.assert_close(value_and_gradient(compiled, x), value_and_gradient(pool, x))


@pytest.mark.nightly
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Inductor's gradient of ceil_mode is wrong; once it is not, nn.AvgPool2d will do",
)
def test_torchs_own_pooling_compiled_by_inductor():
    torch._dynamo.reset()
    x = torch.randn(2, 3, 7, 5)
    pool = nn.AvgPool2d(2, ceil_mode=True)
    compiled = torch.compile(pool, fullgraph=True)
    torch.testing.assert_close(value_and_gradient(compiled, x), value_and_gradient(pool, x))
