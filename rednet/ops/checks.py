"""The checks of the operators' arguments; each raises ValueError."""

import torch
from torch import Tensor

from rednet.ops.window import Window
from rednet.wording import count


def check_involution2d(input: Tensor, weight: Tensor, window: Window) -> None:
    """Check the arguments of `involution2d`."""
    _check_pair(input, weight, ("input", "weight"))
    _check_weight(weight, input.shape[1], window)
    _check_sizes(input.shape[2:], weight.shape[2:], window)


def check_affine(input: Tensor, scale: Tensor, shift: Tensor) -> None:
    """Check the scale and shift of the channels of `input`."""
    for vector, name in ((scale, "scale"), (shift, "shift")):
        if vector.shape != (input.shape[1],):
            raise ValueError(
                f"{name} must have one number for each of {count(input.shape[1], 'channel')}, "
                f"got shape {tuple(vector.shape)}"
            )
        if vector.dtype != affine_dtype(input.dtype):
            raise ValueError(
                f"{name} must be {affine_dtype(input.dtype)} for an input of {input.dtype}, "
                f"got {vector.dtype}"
            )
        if vector.device != input.device:
            raise ValueError(f"{name} must be on {input.device}, got {vector.device}")


def affine_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of scale and shift: that in which sums of `dtype` are accumulated."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def check_grad_input(
    grad: Tensor, weight: Tensor, input_size: tuple[int, int], window: Window
) -> None:
    """Check the arguments of `involution2d_grad_input`."""
    _check_pair(grad, weight, ("grad", "weight"))
    _check_weight(weight, grad.shape[1], window)
    _check_sizes(input_size, grad.shape[2:], window)
    _check_sizes(input_size, weight.shape[2:], window)


def check_grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> None:
    """Check the arguments of `involution2d_grad_weight`."""
    _check_pair(grad, input, ("grad", "input"))
    if grad.shape[1] != input.shape[1]:
        raise ValueError(f"grad has {count(grad.shape[1], 'channel')}, input {input.shape[1]}")
    _check_groups(input.shape[1], groups)
    _check_sizes(input.shape[2:], grad.shape[2:], window)


def check_span(
    images: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    window: Window,
    name: str = "input",
) -> None:
    """Check a span and what it is computed from beside images of C channels, named `name`."""
    _check_pair(images, reduced, (name, "reduced"))
    rows, area, depth = span_weight.shape[0], window.area, reduced.shape[1]
    if span_weight.dim() != 4 or span_weight.shape[1:] != (depth, 1, 1):
        raise ValueError(
            f"span_weight must have shape (G*K*K, {depth}, 1, 1) for {depth} reduced channels, "
            f"got {tuple(span_weight.shape)}"
        )
    if rows == 0 or rows % area:
        raise ValueError(f"span_weight must have a multiple of K*K = {area} rows, got {rows}")
    _check_groups(images.shape[1], rows // area)
    if span_bias is not None and span_bias.shape != (rows,):
        raise ValueError(f"span_bias must have shape ({rows},), got {tuple(span_bias.shape)}")
    for tensor, what in ((span_weight, "span_weight"), (span_bias, "span_bias")):
        if tensor is not None and (tensor.dtype, tensor.device) != (images.dtype, images.device):
            raise ValueError(
                f"{what} must be {images.dtype} on {images.device} like {name}, "
                f"got {tensor.dtype} on {tensor.device}"
            )


def check_span_involution2d(
    input: Tensor, reduced: Tensor, span_weight: Tensor, span_bias: Tensor | None, window: Window
) -> None:
    """Check the arguments of `involution2d_span`."""
    check_span(input, reduced, span_weight, span_bias, window)
    _check_sizes(input.shape[2:], reduced.shape[2:], window)


def check_span_grad_input(
    grad: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    input_size: tuple[int, int],
    window: Window,
) -> None:
    """Check the arguments of the gradient of `involution2d_span` for its input."""
    check_span(grad, reduced, span_weight, span_bias, window, "grad")
    _check_sizes(input_size, grad.shape[2:], window)
    _check_sizes(input_size, reduced.shape[2:], window)


def check_span_gradients(
    grad: Tensor, input: Tensor, reduced: Tensor, span_weight: Tensor, window: Window
) -> None:
    """Check the arguments of the gradients of `involution2d_span` for its span."""
    check_span(input, reduced, span_weight, None, window)
    check_grad_weight(grad, input, span_weight.shape[0] // window.area, window)
    _check_sizes(input.shape[2:], reduced.shape[2:], window)


def _check_pair(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Check that both are 4-D floating-point tensors of one dtype, device and batch size."""
    for tensor, name in zip((first, second), names, strict=True):
        if tensor.dim() != 4:
            raise ValueError(f"{name} must have 4 dimensions, got shape {tuple(tensor.shape)}")
        if tensor.layout is not torch.strided:
            raise ValueError(f"{name} must be a dense tensor, got layout {tensor.layout}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating-point tensor, got {tensor.dtype}")
    for what in ("dtype", "device"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            raise ValueError(
                f"{names[0]} and {names[1]} must have the same {what}, got {one} and {other}"
            )
    if first.shape[0] != second.shape[0]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same batch size, "
            f"got {first.shape[0]} and {second.shape[0]}"
        )


def _check_weight(weight: Tensor, channels: int, window: Window) -> None:
    """Check that a weight (N, G*K*K, Ho, Wo) has whole groups that divide the channels."""
    groups = weight.shape[1] // window.area
    if groups == 0 or weight.shape[1] % window.area:
        raise ValueError(
            f"weight must have a multiple of K*K = {window.area} channels, got {weight.shape[1]}"
        )
    _check_groups(channels, groups)


def _check_groups(channels: int, groups: int) -> None:
    if groups < 1 or channels % groups:
        raise ValueError(
            f"{count(channels, 'channel')} cannot be divided into {count(groups, 'group')}"
        )


def _check_sizes(
    input_size: tuple[int, ...] | torch.Size, output_size: torch.Size, window: Window
) -> None:
    """Check that an input of size (H, W) has outputs of size (Ho, Wo)."""
    expected = tuple(window.output_size(size) for size in input_size)
    if any(size < 1 for size in expected):
        raise ValueError(f"input of {tuple(input_size)} pixels is smaller than {window}")
    if expected != tuple(output_size):
        raise ValueError(
            f"input of {tuple(input_size)} pixels under {window} has {expected} outputs, "
            f"got a tensor for {tuple(output_size)}"
        )
