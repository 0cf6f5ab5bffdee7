"""Whether an involution and the span that makes its kernels can be computed as one."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from rednet.layers.generators import Span
from rednet.layers.pointwise import PointwiseConv2d, is_pointwise
from rednet.layers.repeatable import is_repeatable
from rednet.layers.span_choice import find_backend, is_chosen, is_chosen_in_graph
from rednet.ops import involution2d_span
from rednet.ops.autocast import has_autocast
from rednet.ops.plain_tensors import is_ordinary, is_plain_eager, is_recorded
from rednet.ops.span_backend import SPAN_OPERATORS
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window


def _functions() -> tuple[Any, ...]:
    pointwise = PointwiseConv2d.forward, PointwiseConv2d._conv_forward
    return Span.forward, nn.Conv2d.forward, nn.Conv2d._conv_forward, *pointwise


_FUNCTIONS = _functions()  # whoever replaces one of them wants it called


def fused_span(
    span: nn.Module, x: Tensor, reduced: Tensor, window: Window, channels: int
) -> Tensor | None:
    """Return the involution of x (N, `channels`, H, W) whose kernels are `span(reduced)`, or None.

    It is None where that would be noticed, would not work or would be slower: where something
    observes the modules or single operations, and where the backend has no kernels for the tensors
    or prefers stored ones, with gradients in all three operators.
    """
    if torch.compiler.is_compiling():
        if torch.compiler.is_exporting():
            return None
        return _fuse_in_graph(span, x, reduced, window, channels)
    if not is_plain_eager() or not (_is_usable(x) and _is_usable(reduced)):
        return None
    dtype, device = _compute_dtype(x, reduced), x.device
    # In training on a CPU, where kernels are stored, nothing more is looked at.
    records = is_recorded(x, reduced)
    if dtype is None or find_backend(device, dtype, records) is None or not _is_plain_span(span):
        return None
    conv: Any = span.conv
    records = records or is_recorded(*conv.parameters())
    backend = find_backend(device, dtype, records)
    if backend is None or not (_are_alike(x, conv) and _fits(x, reduced, conv, window)):
        return None
    sizes = _sizes(x, reduced, conv, window)
    if not is_chosen(backend, sizes, dtype, device, records):
        return None
    tensors = x.to(dtype), reduced.to(dtype), conv.weight.to(dtype)
    bias = None if conv.bias is None else conv.bias.to(dtype)
    given = tensors if bias is None else (*tensors, bias)
    if backend.unavailable_reason(SPAN_OPERATORS[0], sizes, dtype, device, given) is not None:
        return None
    if records:
        return involution2d_span(*tensors, bias, *window.sides)
    return backend.span_involution2d(*tensors, bias, window)  # spares torch's dispatcher


def _fuse_in_graph(
    span: nn.Module, x: Tensor, reduced: Tensor, window: Window, channels: int
) -> Tensor | None:
    """Return what `fused_span` does for a graph that torch.compile makes.

    Layouts are not looked at: a graph may change them, and the operator handles all. Nor are the
    sizes of images, which may be symbols.
    """
    if not (isinstance(reduced, Tensor) and _is_plain_span(span)):
        return None
    conv: Any = span.conv
    dtype = _compute_dtype(x, reduced)
    if dtype is None or not _are_alike(x, conv) or conv.weight.shape[0] % window.area:
        return None
    records, device = is_recorded(x, reduced, *conv.parameters()), x.device
    rows, depth = conv.weight.shape[:2]
    numbers = channels, rows // window.area, depth, *window.sides
    if not is_chosen_in_graph(device.type, device.index, dtype, records, *numbers):
        return None
    return involution2d_span(x, reduced, conv.weight, conv.bias, *window.sides)


def _is_usable(images: Any) -> bool:
    """Return whether a value is an ordinary tensor of images, not empty."""
    return (
        isinstance(images, Tensor)
        and is_ordinary(images)
        and images.dim() == 4
        and images.numel() > 0
        and not images._is_zerotensor()
    )


def _is_plain_span(span: Any) -> bool:
    """Return whether a module is a span as it was made, which nothing observes."""
    if type(span) is not Span or type(span.conv) not in (nn.Conv2d, PointwiseConv2d):
        return False
    conv = span.conv
    return (
        _functions() == _FUNCTIONS
        and is_repeatable(span)
        and is_pointwise(conv)
        and conv.weight.shape[2:] == (1, 1)
        and all(map(_is_plain_parameter, conv.parameters()))
    )


def _is_plain_parameter(tensor: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return type(tensor) is Tensor or type(tensor) is Parameter
    return is_ordinary(tensor)


def _compute_dtype(x: Tensor, reduced: Tensor) -> torch.dtype | None:
    """Return the dtype in which the operators would compute, None if torch would refuse."""
    device = x.device.type
    if has_autocast(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        return dtype if {x.dtype, reduced.dtype} <= {torch.float32, dtype} else None
    return x.dtype if x.dtype is reduced.dtype else None


def _are_alike(x: Tensor, conv: nn.Conv2d) -> bool:
    """Return whether the convolution computes on the device and in the dtype of x."""
    device = x.device.type
    dtypes = {x.dtype}
    if has_autocast(device) and torch.is_autocast_enabled(device):
        dtypes = {torch.float32, torch.get_autocast_dtype(device)}
    return all(p.device == x.device and p.dtype in dtypes for p in conv.parameters())


def _sizes(x: Tensor, reduced: Tensor, conv: nn.Conv2d, window: Window) -> SpanSizes:
    return SpanSizes(x.shape[1], conv.weight.shape[0] // window.area, reduced.shape[1], window)


def _fits(x: Tensor, reduced: Tensor, conv: nn.Conv2d, window: Window) -> bool:
    """Return whether the operators would accept the tensors."""
    groups, rest = divmod(conv.weight.shape[0], window.area)
    return (
        rest == 0
        and groups > 0
        and x.shape[1] % groups == 0
        and conv.weight.shape[1] == reduced.shape[1]
        and reduced.shape[0] == x.shape[0]
        and reduced.device == x.device
        and tuple(reduced.shape[2:]) == tuple(map(window.output_size, x.shape[2:]))
    )
