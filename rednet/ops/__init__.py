"""The operators: their definition, their backends and the choice among them."""

from rednet.ops.backends import BACKENDS, Backend, backend, select
from rednet.ops.involution import (
    involution2d,
    involution2d_grad_input,
    involution2d_grad_weight,
)
from rednet.ops.window import Window

__all__ = [
    "BACKENDS",
    "Backend",
    "Window",
    "backend",
    "involution2d",
    "involution2d_grad_input",
    "involution2d_grad_weight",
    "select",
]
