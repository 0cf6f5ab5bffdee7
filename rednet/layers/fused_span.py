"""Whether an involution and the span that makes its kernels can be computed as one."""

from typing import Any

import torch
from torch import Tensor, nn

from rednet.layers.generators import Span
from rednet.layers.pointwise import is_pointwise
from rednet.layers.repeatable import is_repeatable
from rednet.ops.plain_tensors import is_channels_last, is_plain, is_plain_eager, is_recorded
from rednet.ops.span import DTYPES, can_run, pack_span, span_involution2d
from rednet.ops.window import Window


def _functions() -> tuple[Any, ...]:
    return Span.forward, nn.Conv2d.forward, nn.Conv2d._conv_forward


_FUNCTIONS = _functions()  # whoever replaces one of them wants it called


def fused_span(span: nn.Module, x: Tensor, reduced: Tensor, window: Window) -> Tensor | None:
    """Return the involution of x (N, C, H, W) whose kernels are `span(reduced)`, or None.

    It is None where that would be noticed or would not work: where gradients are recorded, or
    something observes the modules or single operations, on a GPU, for other dtypes and layouts.
    """
    if not (
        is_plain_eager()
        and is_channels_last(x, DTYPES)
        and not is_recorded(x)  # in training nothing more is looked at
        and _is_plain_span(span)
    ):
        return None
    conv: Any = span.conv
    if not (
        is_channels_last(reduced, (x.dtype,))
        and not is_recorded(reduced, *conv.parameters())
        and _computes_in(x.dtype, conv)
        and _fits(x, reduced, conv, window)
        and can_run(x.dtype)
    ):
        return None
    weight, bias = pack_span(conv.weight, conv.bias, window.area, x.dtype)
    return span_involution2d(x, reduced, weight, bias, None, None, False, *window.sides)


def _is_plain_span(span: Any) -> bool:
    """Return whether a module is a span as it was made, which nothing observes."""
    if type(span) is not Span or type(span.conv) is not nn.Conv2d or not is_repeatable(span):
        return False
    conv = span.conv
    return (
        _functions() == _FUNCTIONS and is_pointwise(conv) and all(map(is_plain, conv.parameters()))
    )


def _computes_in(dtype: torch.dtype, conv: nn.Conv2d) -> bool:
    """Return whether a convolution, with the current autocast, computes in a dtype."""
    dtypes = {parameter.dtype for parameter in conv.parameters()}
    if torch.is_autocast_enabled("cpu"):
        return dtype is torch.get_autocast_dtype("cpu") and dtypes <= {torch.float32, dtype}
    return dtypes == {dtype}


def _fits(x: Tensor, reduced: Tensor, conv: nn.Conv2d, window: Window) -> bool:
    """Return whether the operators would accept the tensors."""
    groups, rest = divmod(conv.weight.shape[0], window.area)
    return (
        rest == 0
        and groups > 0
        and x.shape[1] % groups == 0
        and conv.weight.shape[1:] == (reduced.shape[1], 1, 1)
        and reduced.shape[0] == x.shape[0]
        and tuple(reduced.shape[2:]) == tuple(map(window.output_size, x.shape[2:]))
    )
