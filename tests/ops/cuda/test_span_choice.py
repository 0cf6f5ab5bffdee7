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
        assert span.is_preferred(sizes, dtype, GPU)


def test_the_table_names_layers_that_store(monkeypatch):
    key = (90, torch.bfloat16, 16, 16, 7, 1)
    monkeypatch.setattr(span_choice, "STORED", frozenset([key]))
    assert not span_choice.prefer_fused(SIZES, torch.bfloat16, 90)
    assert span_choice.prefer_fused(SIZES, torch.bfloat16, 80)
    assert span_choice.prefer_fused(SIZES, torch.float16, 90)
    assert not span_choice.is_preferred(SIZES, torch.bfloat16, GPU)
