"""Stage "profile": which kernels take the time of RedNet-50, eager, in bfloat16."""

import time

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_check.networks import make_setting
from benchmarks.gpu_check.stages import Emit, Row, Settings
from benchmarks.network import REDNET, make_step
from benchmarks.turns import Work
from rednet.runtime import set_numerics

STEPS = 3
NAME_LENGTH = 70


def run(settings: Settings, emit: Emit, top: int) -> None:
    """Emit the kernels of a training step and of an inference, `top` and half as many as lines."""
    set_numerics(deterministic=False, tf32=True)
    for mode in ("training", "inference"):
        step = make_step(make_setting(settings, mode, compiled=False), REDNET)
        for _ in range(1 if settings.tiny else 3):
            step()
        _emit_profile(mode, step, settings, emit, top if mode == "training" else top // 2)


def _emit_profile(mode: str, step: Work, settings: Settings, emit: Emit, top: int) -> None:
    steps = 1 if settings.tiny else STEPS
    rows, wall = _kernels(step, steps, settings.on_gpu)
    total = sum(row["ms"] for row in rows)
    emit(
        f"{mode}: a step takes {wall:.1f} ms with the profiler, its kernels {total:.1f} ms",
        mode=mode,
        wall_ms=wall,
        kernels_ms=total,
        kernels=rows[:40],
    )
    for row in rows[:top]:
        share = 100 * row["ms"] / total
        emit(f"  {share:4.1f} % {row['ms']:7.3f} ms {row['calls']:4.0f} x {row['name']}")


def _kernels(step: Work, steps: int, on_gpu: bool) -> tuple[list[Row], float]:
    """Return name, calls and milliseconds a step of each kernel, the longest first, and of all."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    with profile(activities=activities) as profiled:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        wall = 1000 * (time.perf_counter() - start) / steps
    rows = []
    for event in profiled.key_averages():
        is_kernel = event.device_type == torch.autograd.DeviceType.CUDA
        # An annotation lasts as long as the kernels within it, which would count twice.
        if not getattr(event, "is_user_annotation", False) and (is_kernel or not on_gpu):
            time_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            name = " ".join(event.key.split())[:NAME_LENGTH]
            rows.append({"name": name, "calls": event.count / steps, "ms": time_us / 1000 / steps})
    return sorted(rows, key=lambda row: -row["ms"]), wall
