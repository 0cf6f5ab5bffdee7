"""The generators against their formulas."""

import pytest
import torch

from rednet import Involution2d
from rednet.layers import GENERATORS


def pixels(x, stride):
    return torch.nn.functional.avg_pool2d(x, stride) if stride > 1 else x


def windows(key, kernel_size, stride):
    """Return the keys in each output's window, (N, G, width, K*K, Ho, Wo)."""
    n, _, h, w = key.shape
    padding = (kernel_size - 1) // 2
    unfolded = torch.nn.functional.unfold(key, kernel_size, 1, padding, stride)
    return unfolded.view(n, 2, -1, kernel_size**2, h // stride, w // stride)


def attention_scores(layer, x, stride):
    query = layer.conv1.query(pixels(x, stride)).unflatten(1, (2, -1))
    keys = windows(layer.conv1.key(x), 3, stride)
    return (query[:, :, :, None] * keys).sum(2) / query.shape[2] ** 0.5, query


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
@pytest.mark.parametrize("softmax", [False, True])
def test_attention(softmax, relative_position, stride):
    options = {"softmax": softmax, "relative_position": relative_position}
    layer = Involution2d(32, 3, stride, generator="attention", generator_options=options).double()
    x = torch.randn(2, 32, 6, 8).double()
    scores, query = attention_scores(layer, x, stride)
    if relative_position:
        vectors = layer.conv2.position.weight.view(2, 9, -1)
        scores = scores + torch.einsum("ngchw,gkc->ngkhw", query, vectors) / query.shape[2] ** 0.5
    if softmax:
        scores = scores.softmax(2)
    torch.testing.assert_close(layer.kernel(x), scores.flatten(1, 2))


def test_a_softmax_kernel_is_an_average():
    options = {"softmax": True}
    layer = Involution2d(32, 3, 1, generator="attention", generator_options=options)
    output = layer(torch.ones(1, 32, 5, 5))
    torch.testing.assert_close(output[..., 1:-1, 1:-1], torch.ones(1, 32, 3, 3))


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
