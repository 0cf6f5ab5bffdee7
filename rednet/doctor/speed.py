"""Run each backend of the operator: is it right, and how fast is it?"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import timm
import torch
from torch import Tensor

import rednet.registry  # noqa: F401 (registers the names with timm)
from rednet.best_effort import reason_of
from rednet.doctor.report import Report
from rednet.ops import involution2d
from rednet.ops.backends import Backend, backend, registered_backends, select
from rednet.ops.broken_backend import BrokenBackend
from rednet.program import announce
from rednet.runtime import Runtime
from rednet.wording import count

CHANNELS, GROUPS, SIZE, KERNEL_SIZE = 64, 4, 56, 7
"""The involutions in RedNet-50's first stage."""
BATCHES = {"cpu": 1, "cuda": 16}
IMAGE_SIZE = 224
MAX_ERROR = 1e-4
"""Error of float32 results, relative to the largest one."""


def check_backends(report: Report, seconds: float) -> None:
    """Report which backends run, why others do not, and how fast each is.

    Args:
        report: Where to report.
        seconds: Time to measure each backend; 0 for none.
    """
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda", torch.cuda.current_device()))
    running = [
        (each, device)
        for each in registered_backends()
        for device in devices
        if _runs(each, device, report)
    ]
    _report_idle(running, report)
    _check_choice(devices[-1], report)
    is_right = [_is_right(each, device, report) for each, device in running]
    if not any(is_right):
        report.obstacles.append("no backend of the operator computes: reinstall torch and rednet")
        return
    for each, device in running:
        if not seconds:
            report.add(f"backend {each.name}", f"runs on {device.type}")
            continue
        with report.checking(f"backend {each.name} on {device.type}"):
            _measure(each, device, report, seconds)


def _runs(each: Backend, device: torch.device, report: Report) -> bool:
    """Return whether a backend runs; report what is wrong with one that should."""
    announce(f"looking at the backend {each.name}")
    reason = each.unavailable_reason(device, torch.float32)
    if isinstance(reason, BrokenBackend):
        report.problems.append(f"backend {each.name} cannot run: {' '.join(reason.split())}")
    return reason is None


def _report_idle(running: list[tuple[Backend, torch.device]], report: Report) -> None:
    names = {each.name for each, _ in running}
    for each in registered_backends():
        if each.name not in names:
            kind = "cuda" if each.name == "cuda" else "cpu"
            reason = each.unavailable_reason(torch.device(kind), torch.float32) or ""
            report.add(f"backend {each.name}", f"does not run: {' '.join(reason.split())}")


def _check_choice(device: torch.device, report: Report) -> None:
    """Report the backend that is used; one that REDNET_BACKEND forces may be unable to run."""
    try:
        name = select(device, torch.float32).name
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        report.problems.append(f"REDNET_BACKEND={os.environ.get('REDNET_BACKEND')}: {reason}")
        return
    forced = ", forced by REDNET_BACKEND" if os.environ.get("REDNET_BACKEND") else ""
    report.add("backend", f"{name} is used on {device.type}{forced}")


def _is_right(each: Backend, device: torch.device, report: Report) -> bool:
    """Return whether a backend computes what the reference computes in float64."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 32, 9, 9), torch.randn(2, 2 * KERNEL_SIZE**2, 9, 9)
    try:
        with backend("reference"):
            expected = _results(x.double(), weight.double())
        with backend(each.name):
            found = _results(x.to(device), weight.to(device))
    except Exception as error:
        report.problems.append(f"backend {each.name} fails on {device.type}: {reason_of(error)}")
        return False
    errors = [
        float((a.cpu() - b).abs().max() / b.abs().max())
        for a, b in zip(found, expected, strict=True)
    ]
    if all(error <= MAX_ERROR for error in errors):  # none is NaN
        return True
    figures = ", ".join(f"{error:.1g}" for error in errors)
    report.problems.append(
        f"backend {each.name} computes wrong results on {device.type} (relative errors of output "
        f"and gradients {figures}): set REDNET_BACKEND=reference, and report it"
    )
    return False


def _results(x: Tensor, weight: Tensor) -> list[Tensor]:
    """Return the output and both gradients of an involution."""
    x, weight = x.requires_grad_(), weight.requires_grad_()
    output = involution2d(x, weight, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
    grads = torch.autograd.grad(output.square().sum(), (x, weight))
    return [output.detach(), *grads]


def _measure(each: Backend, device: torch.device, report: Report, seconds: float) -> None:
    announce(f"measuring the backend {each.name}")
    with backend(each.name):
        forward, backward = _measure_operator(device, seconds / 4)
        images = _measure_network(device, seconds / 2)
    batch = BATCHES[device.type]
    threads = f", {count(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else ""
    report.add(
        f"backend {each.name}",
        f"runs on {device.type}{threads}: involution {CHANNELS}x{SIZE}x{SIZE} {KERNEL_SIZE}x"
        f"{KERNEL_SIZE} forward {forward:.3g} ms, backward {backward:.3g} ms an image; "
        f"RedNet-50 inference {images:.3g} images/s ({IMAGE_SIZE} px, batch {batch}, fp32)",
    )


def _measure_operator(device: torch.device, seconds: float) -> tuple[float, float]:
    """Return the milliseconds of a forward and of a backward pass, per image."""
    batch = BATCHES[device.type]
    shapes = ((batch, CHANNELS, SIZE, SIZE), (batch, GROUPS * KERNEL_SIZE**2, SIZE, SIZE))
    x, weight = (
        torch.randn(shape, device=device)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for shape in shapes
    )

    def forward() -> Tensor:
        return involution2d(x, weight, KERNEL_SIZE, padding=KERNEL_SIZE // 2)

    output = forward()
    grad = torch.randn_like(output)
    with torch.no_grad():
        forward_s = _time(forward, device, seconds)
    backward_s = _time(
        lambda: torch.autograd.grad(output, (x, weight), grad, retain_graph=True), device, seconds
    )
    return 1000 * forward_s / batch, 1000 * backward_s / batch


@torch.inference_mode()
def _measure_network(device: torch.device, seconds: float) -> float:
    """Return how many images a second RedNet-50 classifies."""
    runtime = Runtime(device)
    model = runtime.place(timm.create_model("rednet50").eval())
    images = runtime.place_images(torch.randn(BATCHES[device.type], 3, IMAGE_SIZE, IMAGE_SIZE))
    return len(images) / _time(lambda: model(images), device, seconds)


def _time(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the median of the seconds that a call takes, of one call at least.

    The first call warms up and does not count: it may compile kernels.
    """
    times: list[float] = []
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        work()
        _wait(device)
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            work()
            _wait(device)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
