"""Accesses to shared memory, and the wavefronts that bank conflicts make of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels.occupancy import WARP

BANKS, BANK_BYTES = 32, 4
"""Banks, and the bytes that one serves per wavefront (CUDA programming guide, "Shared Memory")."""
INACTIVE = -1
"""Address of a thread that takes no part in an access."""

Array = NDArray[np.int64]


def loop_indices(*counts: int) -> Array:
    """Return the indices of nested loops, each a column of all iterations."""
    return np.indices(counts).reshape(len(counts), -1, 1)


def count_wavefronts(addresses: Array, size: int) -> Array:
    """Return the wavefronts of each access of a warp.

    In a wavefront every bank serves one word of 4 bytes; lanes that want the same word share it.
    Lanes that want 8 or 16 bytes are served by half or a quarter of a warp at a time.

    Args:
        addresses: Byte addresses (accesses, 32), multiples of `size`, or `INACTIVE`.
        size: Bytes per lane: 2, 4, 8 or 16.
    """
    lane_words = max(1, size // BANK_BYTES)
    first = addresses.reshape(-1, WARP // lane_words, 1)
    words = np.where(first < 0, INACTIVE, first // BANK_BYTES + np.arange(lane_words))
    words = np.sort(words.reshape(len(words), -1), axis=1)
    is_distinct = np.diff(words, axis=1, prepend=INACTIVE) != 0
    turn, _ = np.nonzero(is_distinct)
    places = turn * BANKS + words[is_distinct] % BANKS
    bank_words = np.bincount(places, minlength=len(words) * BANKS).reshape(-1, BANKS)
    return bank_words.max(axis=1).reshape(len(addresses), -1).sum(axis=1)


@dataclass(frozen=True)
class Access:
    """Instructions of one kind, as the threads of a block execute them.

    Attributes:
        opcode: LDS loads, LDSM loads of matrices (each lane names a line of 16 bytes), STS stores,
            LDGSTS copies from global to shared memory.
        size: Bytes per thread.
        addresses: Byte addresses (instructions, threads), or `INACTIVE`.
    """

    opcode: str
    size: int
    addresses: Array

    @property
    def wavefronts(self) -> int:
        """Wavefronts of all warps of the block."""
        missing = -self.addresses.shape[1] % WARP
        padded = np.pad(self.addresses, ((0, 0), (0, missing)), constant_values=INACTIVE)
        return int(count_wavefronts(padded.reshape(-1, WARP), self.size).sum())
