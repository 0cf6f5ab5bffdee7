"""What decides which kernels a GPU runs."""

from functools import cache

import torch

TENSOR_CORES = 80
"""Architecture from which on kernels use tensor cores, in 16 bits."""


@cache
def architecture_of(index: int | None) -> int:
    """Return a GPU's compute capability, such as 80; that of the current one for None."""
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor
