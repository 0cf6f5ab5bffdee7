"""Measure where the time and the memory of a training step go."""

import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile

from rednet.build.resuming import resume
from rednet.data.seeding import seed_all
from rednet.debugging.job import DebugJob
from rednet.debugging.layer_times import Layers, layer_seconds
from rednet.debugging.phases import DATA, PHASES, Phases
from rednet.training.batches import MicroBatch
from rednet.training.trainer import Trainer
from rednet.wording import count

TRACE, TABLE, NUMBERS = "trace.json", "profile.txt", "profile.json"
Row = dict[str, Any]


def run_profile(job: DebugJob) -> None:
    """Time some steps without the profiler, then as many with it, and write what was found."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library is talkative
    trainer = job.build()
    if job.checkpoint is not None:
        resume(trainer, job.checkpoint, force=True)
    job.print_setup(trainer, job.config)
    debug = job.debug
    warmup = 3 if debug.warmup_steps is None else debug.warmup_steps
    steps, top = debug.steps or 5, debug.top or 15
    device = job.runtime.device
    with trainer.batches.loader:
        maker = _StepMaker(trainer)
        for _ in range(warmup):
            maker.step()
        phases = Phases(trainer.train_step, trainer.model, device)
        images = 0
        with phases.watching():
            for _ in range(steps):
                images += maker.step(phases)
        memory = _peak_memory(device)
        found, layers = _profile(job, trainer, maker, steps)
    if job.runtime.is_primary:
        found.export_chrome_trace(str(job.folder / TRACE))
    operators = _operators(found, steps, device, top)
    by_layer = layer_seconds(found.events(), device)
    _report(job, phases, images, steps, memory, operators, _layer_rows(by_layer, steps, top))
    del layers


class _StepMaker:
    """Makes one step after another, from epoch to epoch."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.epoch, self.done = trainer.counters.epoch, 0
        self.batches = self._all()
        trainer.train_step.train(self.epoch)

    def _all(self) -> Iterator[list[MicroBatch]]:
        while True:
            yield from self.trainer.batches.steps_of_epoch(self.epoch)
            self.epoch += 1

    def step(self, phases: Phases | None = None) -> int:
        """Make a step; return its number of images on this process."""
        trainer = self.trainer
        if phases is not None:
            phases.enter(DATA)
        batches = next(self.batches)
        if phases is not None:
            phases.enter(PHASES[-1])
        seed_all(trainer.settings.seed, self.done, trainer.runtime.rank)
        trainer.train_step(batches, trainer.schedule.lr_at(trainer.counters.global_step))
        if phases is not None:
            phases.enter(None)
        self.done += 1
        return sum(len(batch.targets) for batch in batches)


def _profile(
    job: DebugJob, trainer: Trainer, maker: _StepMaker, steps: int
) -> tuple[profile, Layers]:
    """Make steps under torch's profiler."""
    device = job.runtime.device
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    phases, layers = Phases(trainer.train_step, trainer.model, device), Layers(trainer.model)
    with ExitStack() as stack:
        stack.enter_context(phases.watching())
        stack.enter_context(layers.marking())
        found = stack.enter_context(profile(activities=activities))
        for _ in range(steps):
            maker.step(phases)
    return found, layers


def _operators(found: profile, steps: int, device: torch.device, top: int) -> list[Row]:
    """Return the operators that take longest by themselves, over one step."""
    averages = [
        event
        for event in found.key_averages()
        if not event.key.startswith(("phase: ", "layer: ", "ProfilerStep"))
    ]

    def self_us(event: Any) -> float:
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        return float(own)

    total = sum(map(self_us, averages)) or 1.0
    slowest = sorted(averages, key=self_us, reverse=True)[:top]
    return [
        {
            "operator": event.key,
            "self ms": self_us(event) / 1000 / steps,
            "share %": 100 * self_us(event) / total,
            "calls": event.count / steps,
        }
        for event in slowest
    ]


def _layer_rows(by_layer: dict[str, tuple[float, float]], steps: int, top: int) -> list[Row]:
    total = sum(map(sum, by_layer.values())) or 1.0
    slowest = sorted(by_layer.items(), key=lambda item: -sum(item[1]))[:top]
    return [
        {
            "layer": name,
            "forward ms": 1000 * forward / steps,
            "backward ms": 1000 * backward / steps,
            "share %": 100 * (forward + backward) / total,
        }
        for name, (forward, backward) in slowest
    ]


def _peak_memory(device: torch.device) -> dict[str, int]:
    """Return the most memory in use so far, in bytes."""
    if device.type == "cuda":
        return {
            "allocated on the GPU": torch.cuda.max_memory_allocated(device),
            "reserved on the GPU": torch.cuda.max_memory_reserved(device),
        }
    unit = 1 if sys.platform == "darwin" else 1024
    return {"resident in this process": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _report(
    job: DebugJob,
    phases: Phases,
    images: int,
    steps: int,
    memory: dict[str, int],
    operators: list[Row],
    layers: list[Row],
) -> None:
    """Print and write the tables."""
    total = sum(phases.seconds.values())
    shares: list[Row] = [
        {
            "phase": name,
            "ms per step": 1000 * phases.seconds[name] / steps,
            "share %": 100 * phases.seconds[name] / total,
        }
        for name in PHASES
    ]
    per_step = f"{1000 * total / steps:.1f} ms per step, {images / total:.1f} images/s"
    lines = [f"{per_step} ({count(steps, 'step')}, on each process, without the profiler)"]
    lines += [f"peak memory: {size / 1e6:.0f} MB {what}" for what, size in memory.items()]
    for rows in (shares, operators, layers):
        table = tabulate(rows, headers="keys", floatfmt=".1f")
        lines += ["", *table.splitlines()]
    for line in lines:
        job.say(line)
    numbers = {"steps": steps, "seconds_per_step": total / steps, "images": images}
    tables = {"phases": shares, "operators": operators, "layers": layers, "peak_memory": memory}
    job.write(TABLE, "\n".join(lines) + "\n")
    path = job.write(NUMBERS, json.dumps(numbers | tables, indent=2) + "\n")
    trace = Path(path).with_name(TRACE)
    job.say(f"debug=profile: ok; {trace} opens in ui.perfetto.dev, the tables are next to it")
