"""Compare RedNet with the ResNet of equal depth in the paper's table, and a free involution."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from benchmarks.free import free_involution
from benchmarks.memory import in_own_process, peak_growth, return_freed_memory
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet import ops
from rednet.runtime import AUTOCAST_DTYPES, Runtime, set_numerics

RESNET, REDNET, BOUND = "resnet", "rednet", "bound"
CONTENDERS = (RESNET, REDNET, BOUND)
RATIOS = {
    "rednet_over_resnet": (RESNET, REDNET),
    "rednet_over_bound": (BOUND, REDNET),
    "bound_over_resnet": (RESNET, BOUND),
}
"""Ratios of images per second; the times are therefore divided the other way round."""
MODES = ("inference", "training")
PAPERS_RESNETS = {26: (1, 2, 4, 1), 38: (2, 3, 5, 2)}
"""Blocks per stage of the paper's ResNets that timm does not have: its resnet26 is another one."""
NUM_CLASSES = 1000


@dataclass(frozen=True)
class Setting:
    """How two networks are compared.

    Attributes:
        depth: 26, 38, 50, 101 or 152.
        precision: "fp32", or "bf16", "fp16" (autocast).
        mode: One of `MODES`; training is forward, cross-entropy, backward and a step of SGD.
        compiled: Whether torch.compile is used.
        batch: Images per batch.
        image_size: Side of the images in pixels.
        device: Device of networks and images.
        threads: Threads that torch uses.
        backend: Backend that RedNet has to use; None for the first that can run.
    """

    depth: int
    precision: str
    mode: str
    compiled: bool
    batch: int
    image_size: int
    device: torch.device
    threads: int
    backend: str | None

    @property
    def runtime(self) -> Runtime:
        """Device and precision; the layout is channels_last for all networks."""
        return Runtime(self.device, self.precision)

    @property
    def used_backend(self) -> str:
        """Name of the backend that RedNet runs on."""
        with _forced(self.backend):
            dtype = AUTOCAST_DTYPES.get(self.precision, torch.float32)
            return ops.select(self.device, dtype).name


def _forced(name: str | None) -> AbstractContextManager[Any]:
    return nullcontext() if name is None else ops.backend(name)


def make_contenders(setting: Setting) -> dict[str, Work]:
    """Return the contenders; RedNet and its bound are the same network."""
    resnet, red = (make_step(setting, name) for name in (RESNET, REDNET))
    return {
        RESNET: resnet,
        REDNET: _within(partial(_forced, setting.backend), red),
        BOUND: _within(free_involution, red),
    }


def _within(context: Callable[[], AbstractContextManager[Any]], work: Work) -> Work:
    def run() -> object:
        with context():
            return work()

    return run


def make_step(setting: Setting, name: str) -> "Inference | Training":
    """Return one step of the network "resnet" or "rednet" in the setting's mode."""
    torch.manual_seed(0)
    runtime = setting.runtime
    model = runtime.place(make_network(name, setting.depth))
    images = torch.randn(setting.batch, 3, setting.image_size, setting.image_size)
    kind = Inference if setting.mode == "inference" else Training
    return kind(model, runtime.place_images(images), runtime, setting.compiled)


def make_network(name: str, depth: int) -> nn.Module:
    """Return the network "resnet" or "rednet" of a depth; all layers of a ResNet are timm's."""
    if name == RESNET and depth in PAPERS_RESNETS:
        return ResNet(Bottleneck, PAPERS_RESNETS[depth], num_classes=NUM_CLASSES)
    network: nn.Module = timm.create_model(f"{name}{depth}", num_classes=NUM_CLASSES)
    return network


class Inference:
    """A forward pass of a network on one batch."""

    def __init__(self, model: nn.Module, images: Tensor, runtime: Runtime, compiled: bool) -> None:
        self.images, self.runtime = images, runtime
        self.model: Any = torch.compile(model.eval()) if compiled else model.eval()

    def __call__(self) -> Tensor:
        """Return the logits."""
        with torch.no_grad(), self.runtime.autocast():
            return self.model(self.images)


class Training:
    """A training step of a network on one batch: forward, cross-entropy, backward, SGD."""

    def __init__(self, model: nn.Module, images: Tensor, runtime: Runtime, compiled: bool) -> None:
        self.images, self.runtime = images, runtime
        self.targets = torch.arange(len(images), device=runtime.device) % NUM_CLASSES
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4
        )
        self.own = model.train()
        self.model: Any = torch.compile(model) if compiled else model

    def __call__(self) -> None:
        """Run one step."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.runtime.autocast():
            loss = F.cross_entropy(self.model(self.images), self.targets)
        loss.backward()
        self.optimizer.step()

    def held_bytes(self) -> int:
        """Return the bytes of weights, statistics, momenta, images and targets."""
        momenta = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        tensors = [*self.own.state_dict().values(), *momenta, self.images, self.targets]
        return sum(tensor.nbytes for tensor in tensors)


def find_peak(setting: Setting, name: str) -> int | None:
    """Return the peak memory in bytes of a training step; run this in a fresh process.

    All tensors are included, memory left from compiling and loading libraries is not.
    """
    torch.set_num_threads(setting.threads)
    set_numerics(deterministic=False, tf32=True)
    return_freed_memory()
    with _forced(setting.backend):
        step = make_step(setting, name)
        assert isinstance(step, Training)
        for _ in range(2):
            step()
        step.optimizer.zero_grad(set_to_none=True)
        growth = peak_growth(step, setting.device)
    return None if growth is None else growth + step.held_bytes()


def measure_setting(setting: Setting, turns: int, on_turn: Work = lambda: None) -> dict[str, Any]:
    """Return a row: milliseconds per image of each contender, ratios, memory of a training step."""
    torch.compiler.reset()
    peaks = _find_peaks(setting) if setting.mode == "training" else {}
    times = take_turns(make_contenders(setting), turns, setting.device, on_turn)
    contenders = {
        name: _describe(times[name], setting.batch, peaks.get(name)) for name in CONTENDERS
    }
    ratios = {
        name: asdict(Ratio.of(times[slower], times[faster]))
        for name, (slower, faster) in RATIOS.items()
    }
    return {
        **describe_setting(setting),
        "contenders": contenders,
        "ratios": ratios,
        "memory_over_resnet": _memory_ratio(peaks),
    }


def _find_peaks(setting: Setting) -> dict[str, int | None]:
    return {name: in_own_process(find_peak, setting, name) for name in (RESNET, REDNET)}


def _memory_ratio(peaks: dict[str, int | None]) -> float | None:
    red, resnet = (peaks.get(name) for name in (REDNET, RESNET))
    return None if red is None or resnet is None else red / resnet


def describe_setting(setting: Setting) -> dict[str, Any]:
    """Return the setting as plain values."""
    return {
        "depth": setting.depth,
        "precision": setting.precision,
        "mode": setting.mode,
        "execution": "compiled" if setting.compiled else "eager",
        "batch": setting.batch,
        "image_size": setting.image_size,
        "backend": setting.used_backend,
    }


def _describe(times: list[float], batch: int, peak: int | None) -> dict[str, Any]:
    per_image = [1000 * time / batch for time in times]
    return {
        "ms_per_image": asdict(Spread.of(per_image)),
        "turns_ms_per_image": [float(f"{time:.4g}") for time in per_image],
        "peak_mib": None if peak is None else peak / 2**20,
    }
