"""Involution on NVIDIA GPUs: CUDA kernels, compiled by CuPy."""

from rednet.ops.cuda.backend import (
    involution2d,
    involution2d_grad_input,
    involution2d_grad_weight,
    unavailable_reason,
)
from rednet.ops.cuda.span_choice import SPAN

__all__ = [
    "SPAN",
    "involution2d",
    "involution2d_grad_input",
    "involution2d_grad_weight",
    "unavailable_reason",
]
