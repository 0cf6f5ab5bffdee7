"""The codes of the kernels' C interface; `kernels/cpu/interface.h` has the same."""

from enum import IntEnum

import torch


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
