"""Build a training run from its configuration."""

import dataclasses
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from rednet.build.data import (
    build_splits,
    build_train_data,
    build_val_loader,
)
from rednet.build.effects import require_optimizer_effects, require_split_effects
from rednet.build.finetuning import build_freezing
from rednet.build.logging import build_images, build_loggers
from rednet.build.losses import build_loss
from rednet.build.model import (
    build_model,
    check_forward,
    check_single_image_batch,
    parallel_model,
    place_model,
)
from rednet.build.optimizer import build_optimizer, scaled_lr
from rednet.build.preprocessing import build_preprocessing
from rednet.build.starting import Start
from rednet.config import Config, to_yaml
from rednet.config import Schedule as ScheduleConfig
from rednet.config import Trainer as TrainerConfig
from rednet.data import (
    ImageLoader,
    ImageSource,
    Preprocessing,
    Splits,
    TrainSampler,
    describe_splits,
)
from rednet.data.loading import usable_cores
from rednet.errors import InputError
from rednet.layers.pointwise_forms import pointwise_forms, set_pointwise_forms
from rednet.program import say
from rednet.runtime import Runtime
from rednet.signals import StopSignals
from rednet.training.agreement import require_equal_backends
from rednet.training.batches import TrainBatches
from rednet.training.checkpoints import CheckpointStore
from rednet.training.clipping import Clipping
from rednet.training.counters import Counters
from rednet.training.early_stopping import EarlyStopping
from rednet.training.freezing import Freezing
from rednet.training.input_limit import LoadingSpeed
from rednet.training.log import RunLog
from rednet.training.losses import Loss
from rednet.training.mixing import Mixing
from rednet.training.nonfinite import NonFinitePolicy
from rednet.training.saver import Saver
from rednet.training.schedule import Schedule
from rednet.training.settings import LoopSettings
from rednet.training.step import TrainStep
from rednet.training.trainer import Trainer
from rednet.training.unreadable import UnreadableImages
from rednet.training.workload import Workload


def build_trainer(
    config: Config,
    runtime: Runtime,
    folder: Path,
    start: Start | None = None,
    explicit_keys: Collection[str] = (),
    signals: StopSignals | None = None,
    splits: Splits | None = None,
) -> Trainer:
    """Build a run that has not started yet.

    Args:
        config: Whole configuration.
        runtime: Device, precision and processes.
        folder: Folder that the run writes to.
        start: Weights to start from, see `follow_weights`; None for a fresh network.
        explicit_keys: Dotted keys that the user set.
        signals: Signals that ask the run to stop.
        splits: Images, if they have been opened.

    Raises:
        InputError: Data, network, weights and settings do not fit together, or leave one of the
            explicit keys without effect.
    """
    if config.model is None:
        raise InputError("model: say which network to train, e.g. model=rednet50")
    torch.manual_seed(config.seed)
    _agree_on_forms(runtime)
    require_optimizer_effects(config.optimizer, explicit_keys)
    splits = splits or build_splits(config.data, config.seed)
    require_split_effects(splits, explicit_keys)
    assert splits.train is not None and splits.val is not None
    class_names = splits.train.class_names
    preprocessing = build_preprocessing(config.data)
    train_size = config.augment.image_size or preprocessing.image_size
    training = dataclasses.replace(preprocessing, image_size=train_size)
    batches = _build_batches(config, splits.train, training, runtime)
    sampler = batches.sampler
    val_loader = build_val_loader(splits.val, preprocessing, config.data, runtime)

    model = build_model(config.model, len(class_names), preprocessing.in_chans)
    _start_from(start, model, class_names, runtime)
    model = place_model(model, config.trainer, runtime)
    for prepared in dict.fromkeys((training, preprocessing)):
        check_forward(model, config.model.name, len(class_names), prepared, runtime)
    require_equal_backends(runtime)
    freezing = build_freezing(config, model, explicit_keys)
    if sampler.smallest_micro_batch() == 1:
        check_single_image_batch(model, training, runtime)

    lr = scaled_lr(config.optimizer, sampler.global_batch)
    schedule = build_schedule(config.schedule, lr, sampler.steps_per_epoch)
    loss = build_loss(config, splits.train, explicit_keys, runtime)
    train_step = _build_step(config, model, freezing, loss, lr, runtime)
    ema = ModelEmaV3(model, config.trainer.ema_decay) if config.trainer.ema_decay else None
    loggers = build_loggers(config, folder, sampler.global_batch, runtime)
    images = build_images(folder, class_names, preprocessing, splits.val, loggers, runtime)
    log = RunLog(
        folder,
        config.trainer.log_every,
        enabled=runtime.is_primary,
        workload=_build_workload(config, freezing, sampler, len(splits.val)),
        loading_speed=partial(_loading_speed, batches.loader),
        world_size=runtime.world_size,
        loggers=loggers,
        images=images,
        device=runtime.device,
    )
    description = _describe(config, preprocessing, splits, sampler, loss)
    saver = _build_saver(config.trainer, description, folder, runtime)
    return Trainer(
        model=model,
        train_step=train_step,
        schedule=schedule,
        batches=batches,
        val_loader=val_loader,
        runtime=runtime,
        log=log,
        saver=saver,
        counters=Counters(sampler.steps_per_epoch),
        nonfinite=_build_nonfinite(config.trainer, folder, runtime),
        num_classes=len(class_names),
        settings=_loop_settings(config, freezing),
        ema=ema,
        signals=signals or StopSignals(),
    )


def _agree_on_forms(runtime: Runtime) -> None:
    """Compute 1x1 convolutions as the primary process's machine does, whatever ran before."""
    set_pointwise_forms(None)
    set_pointwise_forms(runtime.from_primary(pointwise_forms()))


def build_schedule(schedule: ScheduleConfig, lr: float, steps_per_epoch: int) -> Schedule:
    """Build the learning rate schedule, with `lr` at its top."""
    values = dataclasses.asdict(schedule)
    values["milestones"] = tuple(schedule.milestones or ())
    values["gamma"] = 1.0 if schedule.gamma is None else schedule.gamma
    return Schedule(lr=lr, steps_per_epoch=steps_per_epoch, **values)


def _start_from(
    start: Start | None, model: nn.Module, class_names: list[str], runtime: Runtime
) -> None:
    notes = [] if start is None else start.load(model, class_names)
    for note in notes if runtime.is_primary else []:
        say(note)


def _build_step(
    config: Config, model: nn.Module, freezing: Freezing, loss: Loss, lr: float, runtime: Runtime
) -> TrainStep:
    trainer = config.trainer
    optimizer = build_optimizer(config.optimizer, model, lr)
    parallel = partial(parallel_model, model, compiled=trainer.compile, runtime=runtime)
    return TrainStep(
        parallel(),
        optimizer,
        runtime,
        samples_per_rank=config.data.batch_size * trainer.grad_accum_steps,
        loss=loss,
        clipping=Clipping(trainer.clip_grad, trainer.clip_mode),
        freezing=freezing,
        parallel=parallel,
    )


def _build_workload(
    config: Config, freezing: Freezing, sampler: TrainSampler, val_images: int
) -> Workload:
    first = freezing.first_epochs
    return Workload(
        images_per_epoch=sampler.num_samples,
        val_images=val_images,
        eval_every=config.trainer.eval_every,
        cost=freezing.cost(first),
        first_cost=freezing.cost(0),
        first_epochs=first,
    )


def _build_saver(
    trainer: TrainerConfig, description: dict[str, Any], folder: Path, runtime: Runtime
) -> Saver:
    store = CheckpointStore(
        folder, trainer.keep_latest, trainer.keep_best, trainer.keep_every_epochs
    )
    return Saver(
        store,
        description,
        every_steps=trainer.save_every_steps,
        every_minutes=trainer.save_every_minutes,
        runtime=runtime,
    )


def _build_nonfinite(trainer: TrainerConfig, folder: Path, runtime: Runtime) -> NonFinitePolicy:
    return NonFinitePolicy(
        folder / "nonfinite",
        runtime.rank,
        trainer.on_nonfinite,
        max_skips=trainer.max_skips,
        max_skips_in_a_row=trainer.max_skips_in_a_row,
        max_rollbacks=trainer.max_rollbacks,
    )


def _loading_speed(loader: ImageLoader) -> LoadingSpeed:
    return LoadingSpeed(loader.num_workers, loader.seconds_per_image, usable_cores())


def _build_batches(
    config: Config, source: ImageSource, preprocessing: Preprocessing, runtime: Runtime
) -> TrainBatches:
    sampler, loader = build_train_data(source, preprocessing, config, runtime)
    unreadable = UnreadableImages(config.data.max_unreadable)
    mixing = _build_mixing(config, len(source.class_names), runtime)
    shape = (preprocessing.in_chans, preprocessing.image_size, preprocessing.image_size)
    return TrainBatches(sampler, loader, runtime, unreadable, shape, mixing)


def _build_mixing(config: Config, num_classes: int, runtime: Runtime) -> Mixing | None:
    augment = config.augment
    if not (augment.mixup or augment.cutmix):
        return None
    return Mixing(
        augment.mixup,
        augment.cutmix,
        augment.label_smoothing,
        num_classes,
        config.seed,
        runtime.rank,
    )


def _loop_settings(config: Config, freezing: Freezing) -> LoopSettings:
    return LoopSettings(
        seed=config.seed,
        max_steps=config.trainer.max_steps,
        eval_every=config.trainer.eval_every,
        skip_unreadable=config.data.on_unreadable == "skip",
        early_stopping=EarlyStopping(
            config.trainer.early_stopping,
            not_before=freezing.first_epochs,
            epochs=config.schedule.epochs,
        ),
    )


def _describe(
    config: Config,
    preprocessing: Preprocessing,
    splits: Splits,
    sampler: TrainSampler,
    loss: Loss,
) -> dict[str, Any]:
    """Return what a checkpoint says about its network, its data and how they are divided."""
    assert config.model is not None and splits.train is not None
    weights = loss.class_weights
    return {
        "model": dataclasses.asdict(config.model),
        "preprocessing": dataclasses.asdict(preprocessing),
        "class_names": list(splits.train.class_names),
        "data": describe_splits(config.data.name, splits),
        "checked": config.data.check,
        "config": to_yaml(config),
        "global_batch": sampler.global_batch,
        "world_size": sampler.world_size,
        "class_weights": None if weights is None else weights.tolist(),
    }
