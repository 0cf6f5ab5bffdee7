"""The operators of an involution, their backends, and the registry of backends."""

from rednet.ops.affine import involution2d_affine
from rednet.ops.backends import (
    Backend,
    backend,
    register_backend,
    registered_backends,
    select,
)
from rednet.ops.involution import (
    involution2d,
    involution2d_grad_input,
    involution2d_grad_weight,
)
from rednet.ops.span import involution2d_span
from rednet.ops.span_backend import SpanBackend
from rednet.ops.window import Window

__all__ = [
    "Backend",
    "SpanBackend",
    "Window",
    "backend",
    "involution2d",
    "involution2d_affine",
    "involution2d_grad_input",
    "involution2d_grad_weight",
    "involution2d_span",
    "register_backend",
    "registered_backends",
    "select",
]
