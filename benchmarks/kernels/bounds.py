"""What binds a kernel on a GPU: the least time that each resource takes for its work.

The model assumes that each resource works at its peak without a pause, and that every tensor
crosses device memory once. A kernel takes longer than the longest of these times, which says what a
faster kernel would have to save first. `README.md` in this folder names the limits of the model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels.cases import DTYPES, LAYERS, KernelCase
from benchmarks.kernels.expected_time import tensor_microseconds
from benchmarks.kernels.occupancy import PARTITIONS, WARP
from benchmarks.kernels.tiled_block import wavefronts_per_block
from benchmarks.report import Record
from rednet.ops.cuda.plan import Kernel, Launch

RESOURCES = ("memory", "issue", "fma", "shared", "tensor")
"""Device memory, schedulers, pipelines of multiply-adds, shared memory, tensor cores."""
ISSUED_PER_CYCLE = PARTITIONS
"""Instructions of warps per multiprocessor: one per scheduler (CUDA programming guide)."""
WAVEFRONTS_PER_CYCLE = 1
"""Wavefronts per multiprocessor: 32 banks of 4 bytes each (CUDA programming guide)."""
SINGLE, DOUBLE = ("FFMA", "FADD", "FMUL", "IMAD"), ("DFMA", "DADD", "DMUL")
"""Opcodes of the pipelines for float32, which also multiplies integers, and for float64 (Nsight
Compute's guide, "Pipelines")."""


@dataclass(frozen=True)
class Work:
    """What an operator does for one image.

    Attributes:
        bytes_moved: Bytes of its three tensors.
        instructions: Instructions that its warps issue.
        single: Those of them in the float32 pipeline.
        double: Those in the float64 pipeline.
        wavefronts: Wavefronts in shared memory.
        products: Products of matrices by tensor cores.
    """

    bytes_moved: int
    instructions: float
    single: float
    double: float
    wavefronts: float
    products: float = 0

    def microseconds(self, gpu: Gpu) -> dict[str, float]:
        """Return the least time of each resource of a GPU."""
        cycles = gpu.multiprocessors * gpu.clock
        operations = 2 * WARP  # of a multiply-add of a warp, as datasheets count
        seconds = (
            self.bytes_moved / gpu.bandwidth,
            self.instructions / (ISSUED_PER_CYCLE * cycles),
            operations * max(self.single / gpu.flops, self.double / gpu.flops64),
            self.wavefronts / (WAVEFRONTS_PER_CYCLE * cycles),
            1e-6 * tensor_microseconds(self.products, gpu),
        )
        return {name: 1e6 * time for name, time in zip(RESOURCES, seconds, strict=True)}


def loop_rounds(kernel: Kernel) -> float:
    """Return the rounds of a tiled kernel's loop, for `count_issued`; any number for others.

    The input's gradient loops over the rows of taps that meet a phase, K / S in the mean over the
    phases; not in 16 bits, where tensor cores compute its sums. The weight's gradient loops over
    parts of the channels; what it writes in a loop, with a window of 3, is counted as often.
    """
    macros = {name: int(value) for name, value in kernel.defines if name != "STORAGE"}
    if kernel.operator == "involution2d_grad_input":
        return macros["KERNEL_SIZE"] / macros["STRIDE"]
    if kernel.operator == "involution2d_grad_weight" and macros["TILED"]:
        return macros["TILE_CHANNELS"] // macros["THREAD_CHANNELS"]
    return macros["KERNEL_SIZE"]


def is_modelled(case: KernelCase) -> bool:
    """Return whether `work_of` holds for a case."""
    return case.layout == "channels_last" and ("TILED", 1) in case.launch.kernel.defines


def work_of(case: KernelCase, issued: Mapping[str, float]) -> Work:
    """Return what a tiled kernel does for one image.

    Args:
        case: The operator, on channels_last tensors.
        issued: Instructions of a thread by opcode, from `count_issued`.
    """
    layer, itemsize, launch = LAYERS[case.layer], DTYPES[case.dtype].itemsize, case.launch
    warps = _blocks(launch) * -(-launch.kernel.threads // WARP)
    return Work(
        bytes_moved=layer.elements(1) * itemsize,
        instructions=warps * sum(issued.values()),
        single=warps * sum(issued.get(opcode, 0) for opcode in SINGLE),
        double=warps * sum(issued.get(opcode, 0) for opcode in DOUBLE),
        wavefronts=_blocks(launch) * wavefronts_per_block(launch.kernel, layer, itemsize)
        + warps * exchanges(issued),
        products=warps * issued.get("HMMA", 0),
    )


def exchanges(issued: Mapping[str, float]) -> float:
    """Return the exchanges between lanes; like an access to shared memory each is a wavefront."""
    return sum(issued.get(opcode, 0) for opcode in ("SHFL", "MOVM"))


def _blocks(launch: Launch) -> int:
    x, y, z = launch.grid
    return x * y * z


def bound_records(
    cases: Iterable[KernelCase], issued: Mapping[tuple[Kernel, int], Counter[str]]
) -> list[Record]:
    """Return a record for each case that is modelled and each GPU.

    Args:
        cases: The cases.
        issued: Instructions of a thread by opcode, for each kernel and architecture; GPUs of other
            architectures are left out.
    """
    return [
        bound_record(case, gpu, issued[case.launch.kernel, gpu.arch])
        for case in cases
        for gpu in GPUS
        if is_modelled(case) and (case.launch.kernel, gpu.arch) in issued
    ]


def bound_record(case: KernelCase, gpu: Gpu, issued: Mapping[str, float]) -> Record:
    """Return the microseconds per image of each resource, which one binds, and the work."""
    work = work_of(case, issued)
    times = work.microseconds(gpu)
    return {
        "layer": case.layer,
        "operator": case.operator,
        "dtype": case.dtype,
        "gpu": gpu.name,
        **{f"{name}_us": time for name, time in times.items()},
        "binds": max(times, key=lambda name: times[name]),
        **vars(work),
    }
