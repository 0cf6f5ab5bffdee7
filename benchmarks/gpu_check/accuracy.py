"""Stage "operators": every operator against float64, over dtypes, layouts, strides and layers.

Kernels compile for a second each, so that several processes share the cases.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context

import torch
from torch import Tensor

from benchmarks.gpu_check.stages import Emit, Row, Settings
from benchmarks.gpu_check.subjects import (
    LAYOUTS,
    SUBJECTS,
    Subject,
    Tensors,
    as_list,
    make_tensors,
)
from benchmarks.layers import Layer, layers_of
from rednet.ops import results

PROCESSES = 14
DTYPES = {
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "fp64": torch.float64,
}
SMALL = (
    *(Layer(f"stride {stride}", 48, size, 7, stride) for stride in (1, 2) for size in (14, 33)),
    Layer("3x3", 32, 28, 3),
)
BATCH = 2


@dataclass(frozen=True)
class Case:
    """What is computed.

    Attributes:
        operator: A key of `SUBJECTS`.
        layer: The layer.
        dtype: A key of `DTYPES`.
        layout: One of `LAYOUTS`.
        batch: Number of images.
    """

    operator: str
    layer: Layer
    dtype: str
    layout: str
    batch: int = BATCH


def all_cases(tiny: bool) -> list[Case]:
    """Return the cases: RedNet-50's layers as it runs them, then small ones in every way."""
    if tiny:
        layer = Layer("tiny", 32, 9, 7)
        return [Case(name, layer, "fp32", "channels_last") for name in SUBJECTS]
    return [*_networks_cases(), *_small_cases()]


def _networks_cases() -> Iterator[Case]:
    for layer, dtype, name in product(layers_of(224).values(), ("bf16", "fp32"), SUBJECTS):
        yield Case(name, layer, dtype, "channels_last", 4)


def _small_cases() -> Iterator[Case]:
    for dtype, layout, layer, name in product(DTYPES, LAYOUTS, SMALL, SUBJECTS):
        yield Case(name, layer, dtype, layout)


def run(settings: Settings, emit: Emit) -> None:
    """Check all cases and emit a summary for each operator."""
    cases = all_cases(settings.tiny)
    rows: list[Row] = []
    for row in compute(cases, settings, count_processes(settings)):
        rows.append(row)
        line = f"{row['operator']} {row['case']}: {row['error']}" if row["ok"] is False else None
        emit(line, **row)
    for name in SUBJECTS:
        emit(_summary(name, [row for row in rows if row["operator"] == name]))
    if len(rows) < len(cases):
        is_late = settings.seconds_left() < 1
        reason = "no time was left" if is_late else "a process that computed them died"
        emit(
            f"{len(cases) - len(rows)} of {len(cases)} left out: {reason}",
            ok=None if is_late else False,
        )


def count_processes(settings: Settings) -> int:
    """Return the number of processes, which leaves some cores to the system."""
    return min(PROCESSES, max(1, (os.cpu_count() or 1) - 2)) if settings.on_gpu else 1


def compute(cases: list[Case], settings: Settings, processes: int) -> Iterator[Row]:
    """Yield a row for each case, in any order, until little time is left."""
    if processes < 2:
        for case in cases:
            if settings.seconds_left() > 0:
                yield check_case(case, settings.device)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    futures = [pool.submit(check_case, case, settings.device) for case in cases]
    try:
        for future in as_completed(futures, timeout=settings.seconds_left()):
            yield future.result()
    except (TimeoutError, BrokenProcessPool):
        return
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _summary(name: str, rows: list[Row]) -> str:
    """Return the line of an operator."""
    errors = [row["of_bound"] for row in rows if row["of_bound"] is not None]
    reasons = {row["reason"]: None for row in rows if row["reason"]}
    right = sum(row["ok"] is True for row in rows)
    text = f"{name}: {right} of {len(rows) - sum(bool(row['reason']) for row in rows)} right"
    if errors:
        text += f", worst error {max(errors):.2f} of the bound"
    if reasons:
        text += f"; {sum(bool(row['reason']) for row in rows)} cannot run: {next(iter(reasons))}"
    return text


def check_case(case: Case, device: str) -> Row:
    """Return a row: whether a case is right and how large its error is."""
    layer = case.layer
    text = f"{case.dtype} {case.layout} {layer.name} ({layer.channels} channels of {layer.size} px)"
    row: Row = {"operator": case.operator, "case": text, "process": os.getpid()}
    row |= {"ok": None, "of_bound": None, "error": None, "reason": None}
    subject = SUBJECTS[case.operator]
    try:
        tensors = make_tensors(subject, layer, case.batch, DTYPES[case.dtype], device, case.layout)
        reason = subject.unavailable_reason(layer, tensors)
        if reason is not None:
            return {**row, "reason": reason}
        worst = worst_error(subject, case, tensors)
    except Exception as error:  # later cases of this process may fail with it: CUDA's errors stay
        message = " ".join(str(error).split())[:200]
        return {**row, "ok": False, "error": f"{type(error).__name__}: {message}"}
    is_right = worst <= 1  # NaN is not
    return {**row, "ok": is_right, "of_bound": worst, "error": f"{worst:.3g} times the bound"}


def worst_error(subject: Subject, case: Case, tensors: Tensors) -> float:
    """Return the largest error as a multiple of its bound; results start as NaN."""
    dtype = tensors[0].dtype
    exact = as_list(subject.exact(case.layer, [tensor.double() for tensor in tensors]))
    magnitudes = as_list(subject.exact(case.layer, [tensor.double().abs() for tensor in tensors]))
    terms = subject.terms(case.layer, case.batch) + 1
    empty = results.empty_result
    results.empty_result = lambda *args: empty(*args).fill_(torch.nan)
    try:
        found = as_list(subject.compute(case.layer, tensors))
    finally:
        results.empty_result = empty
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, dtype) for one in exact]
    return max(
        _of_bound(*triple, terms, subject.roundings)
        for triple in zip(found, exact, magnitudes, strict=True)
    )


def _of_bound(found: Tensor, exact: Tensor, magnitude: Tensor, terms: int, roundings: int) -> float:
    """Return the largest error over its bound.

    Sums may be wrong by a rounding for each term, in float32 for half and bfloat16, whose results
    are rounded once more; what is rounded to their dtype on the way adds its share.
    """
    own = torch.finfo(found.dtype)
    finest = own if found.dtype == torch.float64 else torch.finfo(torch.float32)
    bound = finest.eps * terms * magnitude + own.eps * roundings * magnitude
    if finest is not own:
        bound += exact.abs().clamp(min=own.smallest_normal) * own.eps / 2
    share = (found.double() - exact).abs() / bound.clamp(min=torch.finfo(torch.float64).tiny)
    return float(share.max()) if share.isfinite().all() else float("nan")
