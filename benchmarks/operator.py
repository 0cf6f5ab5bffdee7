"""Compare the operator's backends with unfold and with the machine's ceilings, layer by layer."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import gpu
from benchmarks.ceilings import Multiplier, make_copier, make_multiplier
from benchmarks.layers import OPERATORS, random_inputs, unfold_involution2d
from benchmarks.memory import in_own_process, peak_growth, return_freed_memory
from benchmarks.operator_case import OperatorCase
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet.errors import InputError
from rednet.ops import backend, involution2d, registered_backends

UNFOLD, BACKWARD = "unfold", "forward+backward"
Row = dict[str, Any]
Times = dict[str, list[float]]


def find_backends(
    names: Sequence[str] | None, case: OperatorCase
) -> tuple[list[str], dict[str, str]]:
    """Return the backends to measure, and the reasons why others are left out.

    Raises:
        InputError: A backend in `names` does not exist or cannot run.
    """
    reasons = {
        one.name: one.unavailable_reason(case.device, case.dtype) for one in registered_backends()
    }
    for name in names or ():
        if name not in reasons:
            raise InputError(f"--backend {name}: there is no such backend: {', '.join(reasons)}")
        if reasons[name] is not None:
            raise InputError(f"--backend {name} cannot run {case.precision}: {reasons[name]}")
    able = [name for name in reasons if reasons[name] is None and name in (names or reasons)]
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    return able, left_out


def make_passes(name: str, case: OperatorCase) -> dict[str, Work]:
    """Return the two passes of a contender: unfold in contiguous, backends in channels_last."""
    is_unfold = name == UNFOLD
    layout = torch.contiguous_format if is_unfold else torch.channels_last
    input, weight, grad = random_inputs(case.layer, case.batch, case.dtype, case.device, layout)
    function: Callable[..., Tensor] = unfold_involution2d if is_unfold else involution2d
    apply = partial(function, **asdict(case.layer.window))
    context = nullcontext if is_unfold else partial(backend, name)

    def forward() -> Tensor:
        with context():
            return apply(input, weight)

    def forward_backward() -> Sequence[Tensor]:
        leaves = input.detach().requires_grad_(), weight.detach().requires_grad_()
        with context():
            return torch.autograd.grad(apply(*leaves), leaves, grad)

    return dict(zip(OPERATORS, (forward, forward_backward), strict=True))


def find_peaks(case: OperatorCase, names: Sequence[str]) -> dict[str, int | None]:
    """Return the peak memory in bytes of forward+backward beyond the arguments.

    Run this in a fresh process.
    """
    torch.set_num_threads(case.threads)
    return_freed_memory()
    peaks = {}
    for name in names:
        work = list(make_passes(name, case).values())[-1]
        work()
        peaks[name] = peak_growth(work, case.device)
    return peaks


def measure_case(
    case: OperatorCase, names: Sequence[str], turns: int, on_turn: Work = lambda: None
) -> list[Row]:
    """Return a row per pass: times, rates, speed-ups over unfold and shares of the ceilings.

    The ceilings take turns too: a copy of as many bytes as the operator has to move, and
    multiply-adds; on a GPU also a convolution and a large copy.
    """
    contenders = (UNFOLD, *names)
    peaks = in_own_process(find_peaks, case, contenders) or {}
    passes = {name: make_passes(name, case) for name in contenders}
    multiplier = make_multiplier(case.device, case.dtype)
    ceilings = {"copy": make_copier(case.bytes_moved, case.device), "fma": multiplier.run}
    on_gpu = gpu.applies(case.device)
    if on_gpu:
        passes[gpu.CONVOLUTION] = gpu.make_convolution(case)
        ceilings[gpu.PEAK_COPY] = gpu.make_peak_copy(case.device)
    measure = gpu.take_turns_in_graphs if on_gpu else take_turns
    rows = []
    for kind in OPERATORS:
        work = {name: own[kind] for name, own in passes.items()}
        times = measure({**ceilings, **work}, turns, case.device, on_turn)
        found, least = _find_ceilings(case, multiplier, times)
        results = {name: _describe(case, times, name, kind, least) for name in contenders}
        if kind == BACKWARD:
            for name in contenders:
                results[name]["peak_mib"] = _in_mib(peaks.get(name))
        row = _describe_case(case, kind) | {"ceilings": found, "contenders": results}
        if on_gpu:
            _add_gpu(row, case, multiplier, times)
        rows.append(row)
    return rows


def _add_gpu(row: Row, case: OperatorCase, multiplier: Multiplier, times: Times) -> None:
    """Add what is measured only on a GPU, to the row and to each of its contenders."""
    row["gpu"] = gpu.describe_gpu(case, row["pass"], multiplier, times)
    for name, own in row["contenders"].items():
        own["gpu"] = gpu.compare(times[name], row["gpu"], times[gpu.CONVOLUTION], row["bytes"])


def _find_ceilings(
    case: OperatorCase, multiplier: Multiplier, times: Times
) -> tuple[dict[str, Any], list[float]]:
    """Return the ceilings, and the least seconds for one operator, turn by turn."""
    scale = case.layer.operations(case.batch) / multiplier.operations
    least = {"copy": times["copy"], "fma": [scale * time for time in times["fma"]]}
    medians = {name: Spread.of(values).median for name, values in least.items()}
    binds = max(medians, key=lambda name: medians[name])
    found = {
        "copy_gbs": case.bytes_moved / medians["copy"] / 1e9,
        "fma_gflops": case.layer.operations(case.batch) / medians["fma"] / 1e9,
        "fma_method": multiplier.method,
        "binds": binds,
    }
    return found, least[binds]


def _describe_case(case: OperatorCase, kind: str) -> Row:
    layer, operators = case.layer, OPERATORS[kind]
    return {
        "layer": layer.name,
        "channels": layer.channels,
        "size": layer.size,
        "out_size": layer.out_size,
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "precision": case.precision,
        "batch": case.batch,
        "pass": kind,
        "operations": operators * layer.operations(case.batch),
        "bytes": operators * case.bytes_moved,
    }


def _describe(case: OperatorCase, times: Times, name: str, kind: str, least: list[float]) -> Row:
    """Return the figures of one contender; `least` has the ceiling's seconds per operator."""
    own, operators = times[name], OPERATORS[kind]
    seconds = Spread.of(own).median
    return {
        "ms": asdict(Spread.of([1000 * time for time in own])),
        "turns_ms": [float(f"{1000 * time:.4g}") for time in own],
        "speedup": asdict(Ratio.of(times[UNFOLD], own)),
        "gflops": operators * case.layer.operations(case.batch) / seconds / 1e9,
        "gbs": operators * case.bytes_moved / seconds / 1e9,
        "share": asdict(Ratio.of([operators * time for time in least], own)),
        "peak_mib": None,
    }


def _in_mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20
