"""The batch size that `trainer.find_batch_size` asks for: that of the run, or the largest."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from timm.utils import ModelEmaV3

from rednet.build.finetuning import build_freezing
from rednet.build.losses import build_loss
from rednet.build.model import build_model, place_model
from rednet.build.optimizer import build_optimizer
from rednet.build.preprocessing import build_preprocessing
from rednet.config import Config
from rednet.data import Splits, TrainSampler
from rednet.data.loading import default_num_workers
from rednet.data.seeding import seeded
from rednet.errors import InputError
from rednet.free_memory import (
    forget_peak,
    free_bytes,
    peak_bytes,
    processes_here,
    resident_bytes,
)
from rednet.memory import is_out_of_memory
from rednet.program import announce, say
from rednet.runtime import Runtime
from rednet.training.batch_size import extrapolate, largest_fitting
from rednet.training.batches import MicroBatch
from rednet.training.clipping import Clipping
from rednet.training.step import TrainStep
from rednet.weights import Checkpoint, read_run_config
from rednet.wording import count

KEY = "trainer.find_batch_size=true"
GPU_SHARE = 0.95
"""Share of a GPU's memory that the search may fill; a run's memory is more fragmented."""
CPU_SHARE = 0.8
"""Share of the free memory that a run may fill."""
LARGEST_TRIAL = 64
"""Images of the largest batch that is tried on a CPU."""
TELLING_GROWTH = 256 * 2**20
BATCHES_PER_WORKER = 3
"""Batches that a data loading worker may have ready or in hand."""


def settle_batch_size(
    config: Config, checkpoint: Checkpoint | None, splits: Splits, runtime: Runtime
) -> Config:
    """Return the configuration with the batch size, if it is to be found.

    A run that is continued keeps its own. The configuration that is returned no longer asks for a
    search, so that the file of the run repeats it on any machine.

    Raises:
        InputError: Not even one image fits.
    """
    if not config.trainer.find_batch_size:
        return config
    if checkpoint is not None and checkpoint.content.get("config") is not None:
        size = int(read_run_config(checkpoint.content["config"])["data"]["batch_size"])
        note = "as in the run that is continued"
    else:
        announce("looking for the largest batch size")
        size, note = _find(config, splits, runtime)
    if runtime.is_primary:
        say(f"data.batch_size={size} ({note})")
    trainer = replace(config.trainer, find_batch_size=False)
    return replace(config, data=replace(config.data, batch_size=size), trainer=trainer)


def _find(config: Config, splits: Splits, runtime: Runtime) -> tuple[int, str]:
    """Return the largest size that fits on every process, and how it was found."""
    assert splits.train is not None
    parts = config.trainer.grad_accum_steps * runtime.world_size
    most = len(splits.train) // parts
    size, note = 0, ""
    if most:
        with _unchanged_state():
            probe = _build_probe(config, splits, runtime)
            search = _extrapolate if runtime.device.type == "cpu" else _try
            size, note = search(probe, config, most, runtime)
    sizes = runtime.gather(size)
    if not most:
        images = count(len(splits.train), "training image")
        raise InputError(f"{KEY}: {images}, fewer than a step's {parts} micro-batches")
    if min(sizes) == 0:
        raise InputError(
            f"{KEY}: not even one image fits into the memory; a smaller data.image_size or "
            "network takes less"
        )
    if len(set(sizes)) > 1:
        note += f"; the processes could have {', '.join(map(str, sizes))}"
    return _without_single_image(min(sizes), config, len(splits.train), runtime), note


def _without_single_image(size: int, config: Config, images: int, runtime: Runtime) -> int:
    """Return the size, or a smaller one, by which no step of an epoch has a single image."""
    steps = config.trainer.grad_accum_steps

    def smallest(size: int) -> int:
        sampler = TrainSampler(images, size, grad_accum_steps=steps, world_size=runtime.world_size)
        return sampler.smallest_micro_batch()

    return next((each for each in range(size, 1, -1) if smallest(each) > 1), size)


@contextmanager
def _unchanged_state() -> Iterator[None]:
    """Leave the random generators of every device and library as they are."""
    with torch.random.fork_rng(), seeded(0):
        yield
    gc.collect()


@dataclass(eq=False)
class _Probe:
    """A network of its own that makes steps like those of the run, in one process.

    Attributes:
        step: The step.
        shape: Channels, height and width of the images.
        num_classes: Number of classes.
        micro_batches: Micro-batches of a step that differ in the memory that they need.
        held: What a run keeps in memory apart from that.
    """

    step: TrainStep
    shape: tuple[int, int, int]
    num_classes: int
    micro_batches: int
    held: list[object]

    def run(self, size: int) -> None:
        """Make two steps with so many images: the optimizer has its state from the first one on."""
        runtime = self.step.runtime
        images = runtime.place_images(torch.randn(size, *self.shape))
        targets = torch.arange(size, device=runtime.device) % self.num_classes
        self.step.samples_per_rank = size * self.micro_batches
        for _ in range(2):
            self.step([MicroBatch(images, targets)] * self.micro_batches, lr=1e-6)
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)

    def forget(self) -> None:
        """Free what the last step has left."""
        self.step.optimizer.zero_grad(set_to_none=True)
        self.step.optimizer.state.clear()
        gc.collect()
        if self.step.runtime.device.type == "cuda":
            torch.cuda.empty_cache()


def _build_probe(config: Config, splits: Splits, runtime: Runtime) -> _Probe:
    assert config.model is not None and splits.train is not None
    alone = replace(runtime, rank=0, world_size=1)
    preprocessing = build_preprocessing(config.data)
    channels, classes = preprocessing.in_chans, len(splits.train.class_names)
    edge = config.augment.image_size or preprocessing.image_size
    model = place_model(build_model(config.model, classes, channels), config.trainer, alone)
    freezing = build_freezing(config, model, ())
    step = TrainStep(
        model,
        build_optimizer(config.optimizer, model, lr=1e-6),
        alone,
        samples_per_rank=1,
        loss=build_loss(config, splits.train, (), alone),
        clipping=Clipping(config.trainer.clip_grad, config.trainer.clip_mode),
        freezing=freezing,
    )
    step.train(freezing.first_epochs)  # when most parts train
    held: list[object] = [ModelEmaV3(model)] if config.trainer.ema_decay else []
    if runtime.world_size > 1:  # DistributedDataParallel has a copy of the gradients
        held += [torch.empty_like(p) for p in model.parameters() if p.requires_grad]
    parts = min(2, config.trainer.grad_accum_steps)
    return _Probe(step, (channels, edge, edge), classes, parts, held)


def _try(probe: _Probe, config: Config, most: int, runtime: Runtime) -> tuple[int, str]:
    """Find the largest size on an accelerator, which answers a request for too much by an error."""
    tried: list[int] = []
    is_cuda = runtime.device.type == "cuda"

    def fits(size: int) -> bool:
        tried.append(size)
        try:
            probe.run(size)
            is_enough = True
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            is_enough = False
        probe.forget()
        return is_enough

    if is_cuda:
        torch.cuda.set_per_process_memory_fraction(GPU_SHARE, runtime.device)
    try:
        size = largest_fitting(fits, most)
    finally:
        if is_cuda:
            torch.cuda.set_per_process_memory_fraction(1.0, runtime.device)
    why = "all training images" if size == most else "the largest that fits"
    return size, f"{why}; tried {', '.join(map(str, tried))}"


def _extrapolate(probe: _Probe, config: Config, most: int, runtime: Runtime) -> tuple[int, str]:
    """Find the size for a CPU, whose system kills a process that takes too much."""
    free, before = free_bytes(), resident_bytes()
    if free is None or before is None:
        raise InputError(f"{KEY}: this system does not say how much memory is free")
    budget = before + CPU_SHARE * free / processes_here()

    def peak(size: int) -> int:
        forget_peak()
        probe.run(size)
        probe.forget()
        return peak_bytes() or 0

    workers = config.data.num_workers
    workers = default_num_workers() if workers is None else workers
    channels, height, width = probe.shape
    pixels = channels * height * width
    need = extrapolate(
        peak,
        before=before,
        budget=budget,
        most=most,
        least_per_image=4 * pixels,
        enough=TELLING_GROWTH,
        largest=LARGEST_TRIAL,
    )
    loaded = BATCHES_PER_WORKER * workers * pixels  # of 8 bits
    size = replace(need, per_image=need.per_image + loaded).largest(budget, most)
    why = "all training images" if size == most else f"as many as {budget / 1e9:.1f} GB hold"
    return size, f"{why}; {need.per_image / 1e6:.2f} MB per image in batches up to {need.size}"
