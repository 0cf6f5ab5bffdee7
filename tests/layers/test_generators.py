"""The generators against their formulas."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from rednet import Involution2d
from rednet.layers import GENERATORS


def pixels(x, stride):
    return torch.nn.functional.avg_pool2d(x, stride) if stride > 1 else x


def taps(x, layer):
    """Return what each window sees, zeros outside the image, (N, G, C/G, K*K, Ho, Wo)."""
    window, groups = layer.window, layer.groups
    unfolded = torch.nn.functional.unfold(
        x, window.kernel_size, window.dilation, window.padding, window.stride
    )
    height, width = (-(-size // window.stride) for size in x.shape[2:])
    return unfolded.view(len(x), groups, -1, window.area, height, width)


def attention_scores(layer, x):
    """Return local attention's scores (N, G, K*K, Ho, Wo), 0 for the keys outside the image."""
    stride = layer.window.stride
    pooled = torch.nn.functional.avg_pool2d(x, stride, ceil_mode=True)
    query = layer.conv1.query(pooled).unflatten(1, (layer.groups, -1))
    scores = (query[:, :, :, None] * taps(layer.conv1.key(x), layer)).sum(2)
    if layer.conv2.position is not None:
        vectors = layer.conv2.position.weight.view(layer.groups, layer.window.area, -1)
        scores = scores + torch.einsum("ngchw,gkc->ngkhw", query, vectors)
    return scores / query.shape[2] ** 0.5


def masked_attention(layer, x):
    """Return softmax attention over the taps inside the image; the values are the image."""
    inside = torch.nn.functional.unfold(
        torch.ones_like(x[:1, :1]),
        layer.window.kernel_size,
        layer.window.dilation,
        layer.window.padding,
        layer.window.stride,
    )
    scores = attention_scores(layer, x)
    scores = scores.masked_fill(inside.view_as(scores[:1, :1]) == 0, -torch.inf)
    return (scores.softmax(2)[:, :, None] * taps(x, layer)).sum(3).flatten(1, 2)


@pytest.mark.parametrize("stride", [1, 2])
def test_bottleneck(stride):
    layer = Involution2d(32, 3, stride).eval()
    x = torch.randn(2, 32, 6, 8)
    hidden = torch.relu(layer.conv1.bn(layer.conv1.conv(pixels(x, stride))))
    torch.testing.assert_close(layer.kernel(x), layer.conv2.conv(hidden))


@pytest.mark.parametrize("stride", [1, 2])
def test_linear(stride):
    layer = Involution2d(32, 3, stride, generator="linear")
    x = torch.randn(2, 32, 6, 8)
    torch.testing.assert_close(layer.kernel(x), layer.conv2.conv(pixels(x, stride)))
    assert {name for name, _ in layer.named_parameters()} == {
        "conv2.conv.weight",
        "conv2.conv.bias",
    }


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("relative_position", [False, True])
def test_attention(relative_position, stride):
    options = {"relative_position": relative_position}
    layer = Involution2d(32, 3, stride, generator="attention", generator_options=options).double()
    x = torch.randn(2, 32, 6, 8).double()
    torch.testing.assert_close(layer.kernel(x), attention_scores(layer, x).flatten(1, 2))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("relative_position", [False, True])
@pytest.mark.parametrize("window", [(7, 1, 1), (3, 2, 1), (3, 1, 2), (5, 2, 3)])
def test_softmax_attention_is_masked_outside_the_image(window, relative_position, recompute):
    layer = Involution2d(
        8,
        *window,
        group_channels=4,
        reduction=2,
        generator="attention",
        recompute_kernel=recompute,
        generator_options={"softmax": True, "relative_position": relative_position},
    ).double()
    for size in ((7, 5), (4, 6), (1, 2)):
        x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
        leaves = [x, *layer.parameters()]
        outputs = layer(x), masked_attention(layer, x)
        torch.testing.assert_close(*outputs)
        torch.testing.assert_close(
            *(torch.autograd.grad(output.sin().sum(), leaves) for output in outputs)
        )


def test_a_softmax_kernel_is_an_average_also_at_the_border():
    options = {"softmax": True}
    layer = Involution2d(32, 3, 1, generator="attention", generator_options=options)
    output = layer(torch.ones(1, 32, 5, 5))
    torch.testing.assert_close(output, torch.ones(1, 32, 5, 5))


def test_softmax_attention_compiles_once_for_many_image_sizes():
    torch._dynamo.reset()
    options = {"softmax": True, "relative_position": True}
    layer = Involution2d(16, 3, 2, generator="attention", generator_options=options)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    # Odd heights and even widths: torch 2.11 compiles the pooling again for the other parity.
    for size in ((9, 8), (13, 12), (7, 30)):
        x = torch.randn(2, 16, *size)
        torch.testing.assert_close(compiled(x), layer(x))
    assert counter.frame_count == 1


def test_scores_without_softmax_are_not_masked():
    layer = Involution2d(16, 3, generator="attention").eval()
    program = torch.export.export(layer, (torch.randn(2, 16, 6, 5),))
    assert not {"pad", "constant_pad_nd", "unfold"} & {
        node.target.__name__.partition(".")[0]
        for node in program.graph.nodes
        if node.op == "call_function"
    }


@pytest.mark.parametrize("reduction", [1, 4, 64])
def test_the_width_of_a_head(reduction):
    layer = Involution2d(32, generator="attention", reduction=reduction)
    assert layer.conv1.query.out_channels == 2 * max(1, 16 // reduction)


def test_all_generators_are_in_these_tests():
    assert set(GENERATORS) == {"bottleneck", "linear", "attention"}


def test_half_precision_softmax_keeps_the_dtype():
    options = {"softmax": True, "relative_position": True}
    layer = Involution2d(32, 3, generator="attention", generator_options=options)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(torch.randn(2, 32, 5, 5))
    assert output.dtype == torch.bfloat16
