"""Stage "overhead": what the host spends on a call, with tensors too small for anything else."""

import time
import warnings
from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu_check.stages import Emit, Settings
from benchmarks.turns import Spread, Work
from rednet import Involution2d, involution2d
from rednet.ops import Window, select
from rednet.runtime import Runtime
from rednet.training.batches import MicroBatch
from rednet.training.step import TrainStep

CALLS, TURNS = 200, 5
WINDOW = Window(7, 1, 3)


def run(settings: Settings, emit: Emit) -> None:
    """Emit the microseconds of a call, and the times a training step waits for the GPU."""
    device = torch.device(settings.device)
    calls, turns = (3, 1) if settings.tiny else (CALLS, TURNS)
    for name, work in make_works(device).items():
        spread = _microseconds(work, calls, turns, device)
        emit(f"{name}: {spread.median:.0f} us of the host", what=name, us=vars(spread))
    emit_step(settings, emit)


def make_works(device: torch.device) -> dict[str, Work]:
    """Return operators, a layer and a network, each on one small image."""
    image = torch.randn(1, 32, 7, 7, device=device).to(memory_format=torch.channels_last)
    taps = torch.randn(1, 98, 7, 7, device=device).to(memory_format=torch.channels_last)
    kernel = torch.randn(32, 32, 3, 3, device=device).to(memory_format=torch.channels_last)
    layer, convolution = Involution2d(32).to(device), nn.Conv2d(32, 32, 3, padding=1).to(device)
    direct = select(device, torch.float32).involution2d
    return {
        "conv2d, forward": no_grad(lambda: F.conv2d(image, kernel, padding=1)),
        "involution2d, forward": no_grad(lambda: involution2d(image, taps, 7, 1, 3)),
        "the backend alone, forward": no_grad(lambda: direct(image, taps, WINDOW)),
        "conv2d, both": both(lambda x, w: F.conv2d(x, w, padding=1), image, kernel),
        "involution2d, both": both(lambda x, w: involution2d(x, w, 7, 1, 3), image, taps),
        "Conv2d, both": both(convolution, image),
        "Involution2d, both": both(layer, image),
    }


def no_grad(work: Work) -> Work:
    """Return work that records no gradient."""

    def run() -> object:
        with torch.no_grad():
            return work()

    return run


def both(function: Callable[..., Tensor], *tensors: Tensor) -> Work:
    """Return forward and backward of a function."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    grad = torch.ones_like(function(*leaves))
    parameters = [*function.parameters()] if isinstance(function, nn.Module) else []
    return lambda: torch.autograd.grad(function(*leaves), [*leaves, *parameters], grad)


def _microseconds(work: Work, calls: int, turns: int, device: torch.device) -> Spread:
    """Return the time until the last of some calls returns; the GPU's queue holds them all."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(3):
        work()
    times = []
    for _ in range(turns):
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            work()
        times.append(1e6 * (time.perf_counter() - start) / calls)
    return Spread.of(times)


def emit_step(settings: Settings, emit: Emit) -> None:
    """Emit how often a training step of RedNet-50 waits for the GPU, and the host's time for it."""
    runtime = Runtime(torch.device(settings.device), "bf16" if settings.on_gpu else "fp32")
    name = "rednet26" if settings.tiny else "rednet50"
    model = runtime.place(timm.create_model(name, num_classes=10)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    step = TrainStep(model, optimizer, runtime, samples_per_rank=2)
    images = runtime.place_images(torch.randn(2, 3, 64, 64))
    batch = MicroBatch(images, torch.tensor([0, 1], device=runtime.device))
    for _ in range(1 if settings.tiny else 3):
        step([batch], 1e-3)
    waits = count_waits(lambda: step([batch], 1e-3)) if settings.on_gpu else None
    spread = _microseconds(
        lambda: step([batch], 1e-3), 1, 1 if settings.tiny else 10, runtime.device
    )
    text = "not counted on a CPU" if waits is None else f"{len(waits)} times"
    emit(
        f"a step of {name} with 2 images of 64 px: {spread.median / 1000:.1f} ms; it waits for the "
        f"GPU {text}",
        what="step",
        us=vars(spread),
        waits=waits,
    )


def count_waits(work: Work) -> list[str]:
    """Return where work waits for the GPU, as torch sees it."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{one.filename}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
