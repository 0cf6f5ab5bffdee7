"""Theoretical occupancy: how many warps of a kernel fit on a multiprocessor at once.

The limits are from "Technical Specifications per Compute Capability" in NVIDIA's CUDA programming
guide, the rounding is that of `cuda_occupancy.h` in the CUDA toolkit.
"""

from dataclasses import dataclass

WARP = 32
REGISTERS = 64 * 1024
REGISTER_UNIT = 256
"""Granularity of a warp's registers."""
PARTITIONS = 4
"""Partitions of a multiprocessor; each has a quarter of the registers, and a warp lives in one."""
KIB = 1024


@dataclass(frozen=True)
class Multiprocessor:
    """Limits of a multiprocessor.

    Attributes:
        warps: Resident warps.
        blocks: Resident blocks.
        shared_bytes: Shared memory of all resident blocks together.
        shared_unit: Granularity of a block's shared memory, in bytes.
        reserved_bytes: Shared memory that the system reserves in every block.
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
    """How many blocks of a kernel fit on a multiprocessor.

    Attributes:
        blocks: Resident blocks.
        warps: Resident warps.
        share: Resident warps as a fraction of the multiprocessor's limit.
        limit: What keeps more from fitting: "registers", "shared", "blocks" or "warps".
    """

    blocks: int
    warps: int
    share: float
    limit: str


def occupancy(arch: int, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """Return the occupancy of a kernel.

    Args:
        arch: Compute capability without the point, a key of `MULTIPROCESSORS`.
        threads: Threads per block.
        registers: Registers per thread.
        shared_bytes: Static and dynamic shared memory per block, without the reserved bytes.
    """
    limits = MULTIPROCESSORS[arch]
    warps = -(-threads // WARP)
    shared = _round_up(shared_bytes + limits.reserved_bytes, limits.shared_unit)
    blocks = {
        "warps": limits.warps // warps,
        "blocks": limits.blocks,
        "registers": _blocks_by_registers(warps, registers),
        "shared": limits.shared_bytes // shared if shared else limits.blocks,
    }
    limit = min(blocks, key=lambda name: blocks[name])
    resident = blocks[limit] * warps
    return Occupancy(blocks[limit], resident, resident / limits.warps, limit)


def _blocks_by_registers(warps: int, registers: int) -> int:
    # Whole warps fit into each partition; a block must fit with its warps spread evenly.
    per_warp = _round_up(max(1, registers) * WARP, REGISTER_UNIT)
    if per_warp * _round_up(warps, PARTITIONS) > REGISTERS:
        return 0
    return REGISTERS // PARTITIONS // per_warp * PARTITIONS // warps


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
