"""An involution with what follows it at inference: a folded batch normalisation and a ReLU.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.
"""

import torch
from torch import Tensor

from rednet.ops import torch_ops
from rednet.ops.involution import involution2d
from rednet.ops.plain_tensors import is_plain_eager, is_recorded
from rednet.ops.window import Side, as_side


def involution2d_affine(
    input: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    kernel_size: Side,
    stride: Side = 1,
    padding: Side = 0,
    dilation: Side = 1,
    relu: bool = False,
) -> Tensor:
    """Return `involution2d(input, weight) * scale + shift` by channel, with a ReLU on request.

    The CPU's kernel does all of it in one pass, in which half and bfloat16 are rounded once. Where
    gradients are recorded, or something observes single operations, it is a composition instead.

    Args:
        input: Images (N, C, H, W).
        weight: Kernels (N, G*K*K, Ho, Wo).
        scale: Factor of each channel (C,): float32 for half and bfloat16, else the input's dtype.
        shift: Summand of each channel (C,), like `scale`.
        kernel_size: As in `involution2d`, like the next three.
        stride: As in `involution2d`.
        padding: As in `involution2d`.
        dilation: As in `involution2d`.
        relu: Apply a ReLU at the end.

    Returns:
        Images (N, C, Ho, Wo).

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.
    """
    tensors = (input, weight, scale, shift)
    if is_recorded(*tensors) or not (is_plain_eager() or torch.compiler.is_compiling()):
        output = involution2d(input, weight, kernel_size, stride, padding, dilation)
        return torch_ops.apply_affine(output, scale, shift, relu)
    sides = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    window = (as_side(name, side) for name, side in sides.items())
    return torch_ops.involution2d_affine(*tensors, relu, *window)
