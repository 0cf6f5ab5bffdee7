"""Involution on NVIDIA GPUs: CUDA kernels, compiled by CuPy."""

from rednet.ops.cuda.backend import (
    involution2d,
    involution2d_grad_input,
    involution2d_grad_weight,
    unavailable_reason,
)

__all__ = [
    "involution2d",
    "involution2d_grad_input",
    "involution2d_grad_weight",
    "unavailable_reason",
]
