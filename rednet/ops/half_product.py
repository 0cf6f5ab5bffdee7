"""A 1x1 convolution with a bias as one product of half or bfloat16 matrices."""

import torch
from torch import Tensor

from rednet.ops.plain_tensors import is_ordinary, is_plain_eager


def may_add_bias(images: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Return whether a convolution is a product of half or bfloat16 matrices on an NVIDIA GPU.

    In float32 cuDNN may use TF32 where products by default do not.
    """
    return (
        isinstance(images, Tensor)  # unlike the proxies of torch.fx
        and images.is_cuda
        and torch.version.hip is None
        and is_half_product(images, weight, bias)
    )


def is_half_product(images: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Return whether images are a matrix of pixels by channels that is multiplied in 16 bits."""
    if torch.compiler.is_compiling():
        is_seen = torch.compiler.is_exporting()
    else:
        is_seen = not (is_plain_eager() and all(map(is_ordinary, (images, weight, bias))))
    if is_seen or images.dim() != 4 or not bias.is_contiguous():
        return False
    device, dtypes = images.device.type, {images.dtype, weight.dtype, bias.dtype}
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        fits = dtypes <= {torch.float32, dtype}
    else:
        dtype, fits = images.dtype, len(dtypes) == 1
    return (
        fits
        and dtype in (torch.float16, torch.bfloat16)
        and weight.shape[1:] == (images.shape[1], 1, 1)
        and images.is_contiguous(memory_format=torch.channels_last)
    )


def product_with_bias(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the convolution (N, O, H, W) of channels_last images as one product, without copies.

    Args:
        images: Images (N, C, H, W).
        weight: Weight (O, C, 1, 1).
        bias: Bias (O,).
    """
    pixels = images.permute(0, 2, 3, 1)
    output = torch.addmm(bias, pixels.flatten(0, 2), matrix_of(weight).t())
    return output.unflatten(0, pixels.shape[:3]).permute(0, 3, 1, 2)


def matrix_of(weight: Tensor) -> Tensor:
    """Return a weight (O, C, 1, 1) as (O, C), so that its gradient gets the weight's strides."""
    if weight.stride(3) == 1:
        return weight.flatten(1)
    return weight.permute(0, 2, 3, 1).flatten(1)
