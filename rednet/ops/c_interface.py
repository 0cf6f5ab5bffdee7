"""The codes and structs of the kernels' C interface, which the headers of `kernels/cpu` define."""

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

import torch
from torch import Tensor

from rednet.ops.window import Window

_pack_tensor = Struct("P4q").pack
_pack_shape = Struct("11q").pack
_pack_affine = Struct("2Pq").pack


class Status(IntEnum):
    """What a kernel returns."""

    DONE = 0
    OUT_OF_MEMORY = 1
    UNKNOWN_DTYPE = 2


DTYPE_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2}


def check_status(name: str, status: int) -> None:
    """Raise the error that the status of the kernel `name` stands for, if any.

    Raises:
        MemoryError: The kernel could not allocate its working space.
        RuntimeError: The status is any other than `Status.DONE`.
    """
    if status == Status.OUT_OF_MEMORY:
        raise MemoryError(f"{name}: not enough memory for its working space")
    if status != Status.DONE:
        raise RuntimeError(f"{name} failed with status {status}")


def tensor_struct(tensor: Tensor) -> bytes:
    """Return the struct Tensor of a 4-D tensor."""
    return _pack_tensor(tensor.data_ptr(), *tensor.stride())


def shape_struct(input: torch.Size, groups: int, output: Sequence[int], window: Window) -> bytes:
    """Return the struct Shape of an involution from (N, C, H, W) to (Ho, Wo)."""
    return _pack_shape(input[0], input[1], groups, *input[2:], *output, *window.sides)


def affine_struct(scale: Tensor, shift: Tensor, relu: bool) -> bytes:
    """Return the struct Affine, which points to the memory of two contiguous vectors."""
    return _pack_affine(scale.data_ptr(), shift.data_ptr(), relu)
