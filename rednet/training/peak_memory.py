"""The most memory that this process has used."""

import sys

import torch

BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


def peak_gigabytes(device: torch.device) -> float:
    """Return the peak of a GPU's tensors, or of this process without its workers, in 10^9 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_OF_MAXRSS / 1e9
