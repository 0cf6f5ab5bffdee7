"""Involutions whose kernels are those of a span, with their exact values."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops import Window, reference
from rednet.ops.cuda import span


class SpanCase(NamedTuple):
    """Arguments of the fused operators, and the window that they share."""

    input: Tensor
    grad: Tensor
    reduced: Tensor
    weight: Tensor
    bias: Tensor | None
    window: Window


def make_span_case(
    size,
    groups,
    window,
    reduced_channels,
    batch=1,
    group_width=16,
    dtype=torch.float32,
    has_bias=True,
):
    """Return random tensors in channels_last."""
    window = Window(*window)
    outputs = tuple(map(window.output_size, size))
    draw = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=draw).to(dtype)

    images = (
        random(batch, channels, *sides).contiguous(memory_format=torch.channels_last)
        for channels, sides in [
            (groups * group_width, size),
            (groups * group_width, outputs),
            (reduced_channels, outputs),
        ]
    )
    weight = random(groups * window.area, reduced_channels, 1, 1)
    bias = random(groups * window.area) if has_bias else None
    return SpanCase(*images, weight, bias, window)


def assert_accurate(case: SpanCase) -> None:
    """Check both fused operators against the reference in float64.

    A tap is a sum of D + 1 terms, rounded to the dtype; K*K products of taps are summed after it.
    """
    depth, area = case.reduced.shape[1], case.window.area
    operands = case.reduced, case.weight, case.bias
    taps = F.conv2d(*(each if each is None else each.double() for each in operands))
    sizes = F.conv2d(*(each if each is None else each.double().abs() for each in operands))
    size = tuple(case.input.shape[2:])
    to_input = reference.involution2d_grad_input
    found = [
        (case.input, lambda x, w: reference.involution2d(x, w, case.window)),
        (case.grad, lambda x, w: to_input(x, w, size, case.window)),
    ]
    results = (
        span.span_involution2d(case.input, *operands, case.window),
        span.span_grad_input(case.grad, *operands, size, case.window),
    )
    for result, (images, exact) in zip(results, found, strict=True):
        images = images.double()
        own, single = torch.finfo(result.dtype), torch.finfo(torch.float32)
        value = exact(images, taps)
        bound = (depth + area + 4) * single.eps * exact(images.abs(), sizes)
        bound += own.eps / 2 * exact(images.abs(), taps.abs() + own.smallest_normal)
        bound += own.eps / 2 * value.abs().clamp(min=own.smallest_normal)
        assert ((result.double() - value).abs() <= bound).all()
