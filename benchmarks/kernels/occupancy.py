"""Theoretical occupancy: how many warps of a kernel fit on a multiprocessor at once.

The limits are those of "Technical Specifications per Compute Capability" in NVIDIA's CUDA
programming guide, the rounding that of `cuda_occupancy.h` in the CUDA toolkit.
"""

from dataclasses import dataclass

WARP = 32
REGISTERS = 64 * 1024
REGISTER_UNIT = 256
"""Registers are given to a warp in such units."""
PARTITIONS = 4
"""Parts of a multiprocessor, each with a quarter of the registers; a warp lives in one."""
KIB = 1024


@dataclass(frozen=True)
class Multiprocessor:
    """What one offers.

    Attributes:
        warps: That may live on it.
        blocks: That may live on it.
        shared_bytes: For all of its blocks together.
        shared_unit: Bytes of which a block gets whole numbers.
        reserved_bytes: Of shared memory, that the system takes of every block.
    """

    warps: int
    blocks: int
    shared_bytes: int
    shared_unit: int = 128
    reserved_bytes: int = 1024


MULTIPROCESSORS = {
    75: Multiprocessor(32, 16, 64 * KIB, shared_unit=256, reserved_bytes=0),
    80: Multiprocessor(64, 32, 164 * KIB),
    86: Multiprocessor(48, 16, 100 * KIB),
    89: Multiprocessor(48, 24, 100 * KIB),
    90: Multiprocessor(64, 32, 228 * KIB),
    100: Multiprocessor(64, 32, 228 * KIB),
    120: Multiprocessor(48, 24, 100 * KIB),
}


@dataclass(frozen=True)
class Occupancy:
    """How a multiprocessor can be filled with one kernel.

    Attributes:
        blocks: At once.
        warps: At once.
        share: Of the warps that may live on it.
        limit: What keeps more from fitting: "registers", "shared", "blocks" or "warps".
    """

    blocks: int
    warps: int
    share: float
    limit: str


def occupancy(arch: int, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """Of a kernel.

    Args:
        arch: Compute capability without its point, a key of `MULTIPROCESSORS`.
        threads: Of a block.
        registers: Of a thread.
        shared_bytes: Of a block, static and dynamic, without what the system reserves.
    """
    offer = MULTIPROCESSORS[arch]
    warps = -(-threads // WARP)
    shared = _rounded(shared_bytes + offer.reserved_bytes, offer.shared_unit)
    blocks = {
        "warps": offer.warps // warps,
        "blocks": offer.blocks,
        "registers": _blocks_by_registers(warps, registers),
        "shared": offer.shared_bytes // shared if shared else offer.blocks,
    }
    limit = min(blocks, key=lambda name: blocks[name])
    resident = blocks[limit] * warps
    return Occupancy(blocks[limit], resident, resident / offer.warps, limit)


def _blocks_by_registers(warps: int, registers: int) -> int:
    """Whole warps fit into each partition; a block must fit with its warps spread evenly."""
    of_warp = _rounded(max(1, registers) * WARP, REGISTER_UNIT)
    if of_warp * _rounded(warps, PARTITIONS) > REGISTERS:
        return 0
    return REGISTERS // PARTITIONS // of_warp * PARTITIONS // warps


def _rounded(value: int, unit: int) -> int:
    return -(-value // unit) * unit
