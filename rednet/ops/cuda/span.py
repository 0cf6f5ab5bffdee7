"""An involution together with the 1x1 convolution that makes its kernels, the span, on a GPU.

No tensor of kernels (N, G*K*K, Ho, Wo) exists: each block makes the taps that it needs. A tap is
summed over D in float32, and rounded to the dtype of the images before it is used, so that the
results are those of the stored kernels up to the order of that sum.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output. All tensors of a call have one dtype and are on one GPU; their sizes have been checked.
`span_weight` is the convolution's own weight (G*K*K, D, 1, 1), `span_bias` its bias (G*K*K,), or
None. `unavailable_reason` is asked first, with the tensors of the call in the order of its
arguments; otherwise the tensors may have any strides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rednet.ops import results
from rednet.ops.cuda import backend, banded_gradients_plan, span_gradients_plan, span_limits
from rednet.ops.cuda.device import architecture_of
from rednet.ops.cuda.plan import Launch
from rednet.ops.cuda.span_plan import ROLES, plan_span
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window


def unavailable_reason(
    operator: str,
    sizes: SpanSizes,
    dtype: torch.dtype,
    architecture: int,
    tensors: Sequence[Tensor] = (),
) -> str | None:
    """Return why a fused kernel cannot run, or None if it can.

    It is pure: the same arguments give the same answer on every rank and in every step.

    Args:
        operator: One of `SPAN_OPERATORS`.
        sizes: Sizes of the layer.
        dtype: Dtype of all tensors.
        architecture: Compute capability of the GPU, such as 80 or 90.
        tensors: Tensors of the call, without a bias that is None. Where none are given, the answer
            is that for channels_last images of an ordinary size, by which a layer decides.
    """
    if operator in ROLES:
        return span_limits.unavailable_reason(operator, sizes, dtype, tensors)
    if banded_gradients_plan.unavailable_reason(sizes, dtype, architecture, tensors) is None:
        return None
    return span_gradients_plan.unavailable_reason(sizes, dtype, tensors)


def span_involution2d(
    input: Tensor, reduced: Tensor, span_weight: Tensor, span_bias: Tensor | None, window: Window
) -> Tensor:
    """Return the output (N, C, Ho, Wo), channels_last if the input or `reduced` is.

    Args:
        input: Images (N, C, H, W).
        reduced: Images (N, D, Ho, Wo).
        span_weight: Weight (G*K*K, D, 1, 1).
        span_bias: Bias (G*K*K,), or None.
        window: Window of the involution.
    """
    output = results.empty_result(input, reduced, (*input.shape[:2], *reduced.shape[2:]))
    _run("span_involution2d", (input, reduced, output), span_weight, span_bias, window)
    return output


def span_grad_input(
    grad: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    input_size: tuple[int, int],
    window: Window,
) -> Tensor:
    """Return the gradient (N, C, H, W) of the input, channels_last if `grad` or `reduced` is.

    Args:
        grad: Gradient of the output (N, C, Ho, Wo).
        reduced: Images (N, D, Ho, Wo).
        span_weight: Weight (G*K*K, D, 1, 1).
        span_bias: Bias (G*K*K,), or None.
        input_size: (H, W).
        window: Window of the involution.
    """
    result = results.empty_result(grad, reduced, (*grad.shape[:2], *input_size))
    _run("span_grad_input", (grad, reduced, result), span_weight, span_bias, window)
    return result


def _run(
    operator: str,
    tensors: tuple[Tensor, Tensor, Tensor],
    weight: Tensor,
    bias: Tensor | None,
    window: Window,
) -> None:
    """Launch a kernel that writes the last of three tensors, for as many images as a grid has."""
    # The kernels read memory, where a tensor with torch's negative bit has the opposite sign.
    first, second = (tensor.resolve_neg() for tensor in tensors[:2])
    weight, bias = weight.resolve_neg(), None if bias is None else bias.resolve_neg().contiguous()
    parts = (tensor.split(backend.MAX_GRID_Z) for tensor in (first, second, tensors[2]))
    for images, reduced, result in zip(*parts, strict=True):
        planned = plan_span(operator, images, reduced, weight, bias, result, window)
        backend.launch(planned, result.device)


def span_gradients(
    grad: Tensor, input: Tensor, reduced: Tensor, span_weight: Tensor, window: Window
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `reduced`, the span's weight and the span's bias.

    They have the shapes and the dtype of the three: (N, D, Ho, Wo), in channels_last if `reduced`
    is; (G*K*K, D, 1, 1), contiguous; and (G*K*K,), also where there is no bias.

    The gradients of the taps are rounded to the dtype before both products, as stored ones would
    be. All sums are in float32 and in a fixed order.

    Args:
        grad: Gradient of the output (N, C, Ho, Wo).
        input: Images (N, C, H, W).
        reduced: Images (N, D, Ho, Wo).
        span_weight: Weight (G*K*K, D, 1, 1).
        window: Window of the involution.
    """
    # The kernel reads memory, where a tensor with torch's negative bit has the opposite sign.
    tensors = grad.resolve_neg(), input.resolve_neg(), reduced.resolve_neg()
    weight = span_weight.resolve_neg()
    launches, result, sums = _plan_gradients(tensors, weight, window)
    for planned in launches:
        backend.launch(planned, grad.device)
    if result.dim() == 5:  # the parts of several chunks of groups
        result = result.sum(0).to(reduced.dtype)
    added = sums.sum(0).to(weight.dtype)
    return result, added[:, :-1].reshape(weight.shape), added[:, -1].clone()


def _plan_gradients(
    tensors: tuple[Tensor, Tensor, Tensor], weight: Tensor, window: Window
) -> tuple[list[Launch], Tensor, Tensor]:
    """Plan the kernels by tensor cores where they can run, else the one for all."""
    sizes = SpanSizes(tensors[1].shape[1], weight.shape[0] // window.area, weight.shape[1], window)
    architecture, each = architecture_of(weight.device.index), (*tensors, weight)
    if banded_gradients_plan.unavailable_reason(sizes, weight.dtype, architecture, each) is None:
        return banded_gradients_plan.plan_banded_gradients(tensors, weight, window)
    launch, result, sums = span_gradients_plan.plan_span_gradients(tensors, weight, window)
    return [launch], result, sums
