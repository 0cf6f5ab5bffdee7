"""Measure the ceilings of this machine: multiply-adds and bytes per second."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.turns import Spread, Work, take_turns
from rednet.errors import InputError
from rednet.ops import compiler

SOURCE = Path(__file__).with_name("ceilings.cpp")
SIZES_MIB = (0.25, 1, 4, 16, 64, 256, 512)
ROUNDS = 200_000
MATRIX_SIDES = {"cpu": 1024, "cuda": 4096}


@dataclass(frozen=True)
class Multiplier:
    """Work that multiplies and adds as fast as this machine can.

    Attributes:
        run: Runs the work once.
        operations: Multiplications and additions in one run.
        method: Short description for the tables.
    """

    run: Work
    operations: float
    method: str


def make_copier(bytes_moved: int, device: torch.device) -> Work:
    """Return a copy between two tensors that reads and writes `bytes_moved` bytes in total."""
    source = torch.ones(max(1, bytes_moved // 8), device=device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def make_multiplier(device: torch.device, dtype: torch.dtype) -> Multiplier:
    """Return the fastest multiply-adds in `dtype`.

    Half and bfloat16 are measured in float32, in which the operators accumulate them. On a CPU the
    work is a C++ loop over registers; without a compiler, and on other devices, a matrix product.
    """
    dtype = torch.float64 if dtype == torch.float64 else torch.float32
    if device.type == "cpu":
        library = _load_library()
        if library is not None:
            return _register_loop(library, dtype)
    return _matrix_product(device, dtype)


def _load_library() -> ctypes.CDLL | None:
    try:
        return compiler.load(SOURCE)
    except compiler.BuildError:
        return None


def _register_loop(library: ctypes.CDLL, dtype: torch.dtype) -> Multiplier:
    function = library.rednet_multiply_add
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64]
    function.restype = ctypes.c_double
    is_double, threads = int(dtype == torch.float64), torch.get_num_threads()
    operations = function(is_double, threads, ROUNDS)
    return Multiplier(
        lambda: function(is_double, threads, ROUNDS), operations, "multiply-adds on registers"
    )


def _matrix_product(device: torch.device, dtype: torch.dtype) -> Multiplier:
    side = MATRIX_SIDES.get(device.type, 1024)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    result = torch.empty_like(matrix)
    return Multiplier(
        lambda: torch.mm(matrix, matrix, out=result), 2.0 * side**3, "product of matrices"
    )


def measure_ceilings(
    device: torch.device, turns: int, on_turn: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Return rows with GFLOP/s in float32 and float64 and GB/s of copies of increasing size."""
    multipliers = {
        str(dtype).removeprefix("torch."): make_multiplier(device, dtype)
        for dtype in (torch.float32, torch.float64)
    }
    copiers = {size: make_copier(int(size * 2**20), device) for size in SIZES_MIB}
    work: dict[str, Work] = {name: one.run for name, one in multipliers.items()}
    work |= {f"copy {size:g} MiB": copier for size, copier in copiers.items()}
    times = take_turns(work, turns, device, on_turn)
    rows = [
        _row(name, "GFLOP/s", one.method, one.operations / 1e9, times[name])
        for name, one in multipliers.items()
    ]
    for size in SIZES_MIB:
        name = f"copy {size:g} MiB"
        rows.append(_row(name, "GB/s", "copy_", size * 2**20 / 1e9, times[name]))
    return rows


def _row(name: str, unit: str, method: str, amount: float, times: list[float]) -> dict[str, Any]:
    rates = Spread.of([amount / seconds for seconds in times])
    return {
        "ceiling": name,
        "unit": unit,
        "method": method,
        "median": rates.median,
        "lower": rates.lower,
        "upper": rates.upper,
        "best": amount / min(times),
    }


def check_device(name: str) -> torch.device:
    """Return the device that `--device` names; "auto" is a GPU if there is one.

    Raises:
        InputError: The device does not exist.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise InputError("--device cuda: this machine has no CUDA device; --device cpu runs")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
