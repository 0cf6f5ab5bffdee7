"""Which layers have fused kernels on a GPU, and prefer them; nothing here runs on one."""

import pytest
import timm
import torch

import rednet  # noqa: F401
from rednet.layers import Involution2d
from rednet.ops import Window, registered_backends
from rednet.ops.cuda import span_choice
from rednet.ops.span_backend import SPAN_OPERATORS
from rednet.ops.span_sizes import SpanSizes

SIZES = SpanSizes(64, 4, 16, Window(7, 1, 3))
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def hopper(monkeypatch):
    monkeypatch.setattr(span_choice, "architecture_of", lambda index: 90)
    span_choice._unavailable_for_layer.cache_clear()
    yield
    span_choice._unavailable_for_layer.cache_clear()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_layer_of_rednet50_has_kernels(dtype):
    span = registered_backends()[0].span
    layers = [m for m in timm.create_model("rednet50").modules() if isinstance(m, Involution2d)]
    assert len(layers) == 17
    for layer in layers:
        weight = layer.conv2.conv.weight
        sizes = SpanSizes(layer.channels, layer.groups, weight.shape[1], layer.window)
        needed = SPAN_OPERATORS[:2]  # the span's gradients may be composed
        assert [span.unavailable_reason(name, sizes, dtype, GPU) for name in needed] == [None] * 2
        is_last = layer.channels == 512 and layer.window.stride == 1
        assert span.is_preferred("span_involution2d", sizes, dtype, GPU) == (not is_last)


def make(channels=64, width=16, depth=16, kernel_size=7, stride=1):
    return SpanSizes(channels, channels // width, depth, Window(kernel_size, stride, 3))


def preferred(sizes, dtype=torch.bfloat16, architecture=90):
    """Return the operators that are fused."""
    return {
        name
        for name in SPAN_OPERATORS
        if span_choice.prefer_fused(name, sizes, dtype, architecture)
    }


FORWARD, GRAD_INPUT, GRADIENTS = SPAN_OPERATORS
LAYERS = [
    (make(32, kernel_size=3, depth=8), {FORWARD, GRAD_INPUT, GRADIENTS}, {FORWARD, GRAD_INPUT}),
    (make(), {FORWARD, GRAD_INPUT, GRADIENTS}, {GRAD_INPUT}),
    (make(128, depth=32, stride=2), {FORWARD, GRADIENTS}, set()),
    (make(128, depth=32), {FORWARD, GRAD_INPUT, GRADIENTS}, set()),
    (make(256, depth=64), {FORWARD, GRADIENTS}, set()),
    (make(512, depth=128, stride=2), {FORWARD}, set()),
    (make(512, depth=128), {GRADIENTS}, set()),
]
"""Layers, and what is fused in 16 bits and in float32."""


@pytest.mark.parametrize(("sizes", "in_16_bits", "in_float32"), LAYERS)
def test_every_operator_is_chosen_by_itself(sizes, in_16_bits, in_float32):
    for architecture in (80, 90):
        assert preferred(sizes, architecture=architecture) == in_16_bits
        assert preferred(sizes, torch.float16, architecture) == in_16_bits
        assert preferred(sizes, torch.float32, architecture) == in_float32


def test_other_layers_are_as_the_next_one():
    """A group of 4 channels with D = 4 makes as many taps for each product as stage 1."""
    everything = {FORWARD, GRAD_INPUT, GRADIENTS}
    assert preferred(make(64, width=4, depth=4)) == everything - {GRADIENTS}  # without bands
    assert preferred(make(96, depth=16, kernel_size=5)) == everything
    assert preferred(make(1024, depth=256)) == {GRADIENTS}
    assert preferred(make(64, stride=2)) == preferred(make(128, depth=32, stride=2))
    assert preferred(make(64, stride=3)) == preferred(make(128, depth=32, stride=2))
    assert preferred(make(64, width=64, depth=16)) == preferred(make(32, depth=4, kernel_size=3))


@pytest.mark.parametrize("architecture", [86, 89, 100, 120])
def test_other_architectures_are_as_the_next_one(architecture):
    for sizes, in_16_bits, in_float32 in LAYERS:
        assert preferred(sizes, architecture=architecture) == in_16_bits
        assert preferred(sizes, torch.float32, architecture) == in_float32


def test_without_tensor_cores_16_bits_are_composed():
    for sizes, _, in_float32 in LAYERS:
        assert preferred(sizes, architecture=75) == set()
        assert preferred(sizes, torch.float32, 75) == in_float32


def test_the_architectures_own_rows_count(monkeypatch):
    monkeypatch.setattr(span_choice.span_table, "FUSED", {(FORWARD, 16, 80): ("stage1",)})
    span_choice.prefer_fused.cache_clear()
    assert preferred(SIZES, architecture=80) == {FORWARD}
    assert preferred(SIZES, architecture=90) == set()
    span_choice.prefer_fused.cache_clear()
