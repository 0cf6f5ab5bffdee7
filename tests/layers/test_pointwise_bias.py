"""A 1x1 convolution with a bias is one product on a GPU; here its parts, on the CPU."""

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from rednet.layers import PointwiseConv2d, pointwise
from rednet.ops import half_product


@pytest.fixture
def everywhere(monkeypatch):
    """Use the product on the CPU, too."""
    monkeypatch.setattr(pointwise, "may_add_bias", half_product.is_half_product)


def make(dtype=torch.bfloat16, layout=torch.channels_last):
    torch.manual_seed(0)
    layer = PointwiseConv2d(6, 4, bias=True).to(dtype).to(memory_format=layout)
    x = torch.randn(2, 6, 5, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return layer, x.requires_grad_()


def is_product(output):
    return output.grad_fn.name() == "PermuteBackward0"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_values_and_gradients(dtype, layout, everywhere):
    layer, x = make(dtype, layout)
    output = layer(x)
    expected = F.conv2d(x, layer.weight, layer.bias)
    assert is_product(output)
    assert not is_product(expected)
    assert output.stride() == expected.stride()
    torch.testing.assert_close(output, expected, rtol=0.02, atol=0.02)
    inputs = (x, layer.weight, layer.bias)
    gradients = torch.autograd.grad(expected.float().sin().sum(), inputs)
    output.float().sin().sum().backward()
    torch.testing.assert_close([t.grad for t in inputs], list(gradients), rtol=0.05, atol=0.1)
    assert layer.weight.grad.stride() == layer.weight.stride()


def test_nothing_is_copied(everywhere):
    names = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(function.name())
            return function(*args, **(kwargs or {}))

    layer, x = make()
    with Record():
        half_product.product_with_bias(x, layer.weight, layer.bias).sum().backward()
    assert "aten::addmm" in names
    assert not {"aten::clone", "aten::copy_", "aten::_to_copy"} & set(
        names[: names.index("aten::addmm")]
    )


def test_one_graph(everywhere):
    torch._dynamo.reset()
    layer, x = make()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    for batch in (7, 8):
        x = x.detach()[:1].expand(batch, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        assert torch.equal(compiled(x), layer(x))
    assert counter.frame_count == 1
    (graph,) = {str(graph.code) for graph in counter.graphs}
    assert "addmm" in graph


def test_autocast(everywhere):
    layer, x = make(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output, expected = layer(x), F.conv2d(x, layer.weight, layer.bias)
    assert is_product(output)
    assert output.dtype is expected.dtype
    torch.testing.assert_close(output, expected, rtol=0.02, atol=0.02)


def test_everything_else_is_torchs_convolution(everywhere):
    layer, x = make()
    assert not is_product(layer(x.contiguous()))
    assert not is_product(layer(x[:, :, ::2]))
    for name, value in (("stride", (2, 2)), ("padding", (1, 1)), ("padding_mode", "circular")):
        layer, x = make()
        setattr(layer, name, value)
        assert not is_product(layer(x)), name
    layer, x = make(torch.float32)
    assert not is_product(layer(x))
    exported = torch.export.export(make()[0], (make()[1],))
    assert "conv2d" in str(exported.graph)


def test_it_is_for_nvidia_gpus():
    layer, x = make()
    assert not half_product.may_add_bias(x, layer.weight, layer.bias)
    assert not is_product(layer(x))
