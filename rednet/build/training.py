"""The configured training run."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.utils import ModelEmaV3
from torch import nn

from rednet.build.data import (
    build_preprocessing,
    build_splits,
    build_train_data,
    build_val_loader,
)
from rednet.build.model import (
    build_model,
    nearest,
    parallel_model,
    place_model,
    check_single_image_batch,
    check_forward,
)
from rednet.config import Config, Optimizer, to_yaml
from rednet.config import Schedule as ScheduleConfig
from rednet.data import Preprocessing
from rednet.errors import InputError
from rednet.weights import load_weights, read_checkpoint
from rednet.runtime import Runtime
from rednet.training.checkpoints import CheckpointStore
from rednet.training.mixing import Mixing
from rednet.training.schedule import Schedule
from rednet.training.step import Clipping, UpdateStep
from rednet.training.trainer import LoopSettings, Trainer


def build_trainer(config: Config, runtime: Runtime, folder: Path) -> Trainer:
    """Assembles a run, at its beginning.

    Args:
        config: All of it.
        runtime: Where and how to compute.
        folder: Where the run writes.

    Raises:
        InputError: Data, network, weights and settings do not fit each other.
    """
    if config.model is None:
        raise InputError("model: say which network to train, e.g. model=rednet50")
    torch.manual_seed(config.seed)
    splits = build_splits(config.data, config.seed)
    assert splits.train is not None and splits.val is not None
    names = splits.train.class_names
    preprocessing = build_preprocessing(config.data)
    sampler, loader = build_train_data(splits.train, preprocessing, config, runtime)
    lr = scaled_lr(config.optimizer, sampler.global_batch)
    model = build_model(config.model, len(names), preprocessing.in_chans)
    _start_from(config.checkpoint, model)
    model = place_model(model, config.trainer, runtime)
    check_forward(model, config.model.name, len(names), preprocessing, runtime)
    if sampler.smallest_micro_batch() == 1:
        check_single_image_batch(model, preprocessing, runtime)
    return Trainer(
        model=model,
        step=_build_step(config, model, lr, runtime),
        schedule=build_schedule(config.schedule, lr, sampler.steps_per_epoch),
        sampler=sampler,
        loader=loader,
        val_loader=build_val_loader(splits.val, preprocessing, config.data, runtime),
        runtime=runtime,
        folder=folder,
        store=CheckpointStore(folder, config.trainer.keep_latest, config.trainer.keep_best),
        description=_describe(config, preprocessing, names),
        settings=_loop_settings(config),
        mixing=_build_mixing(config, len(names), runtime),
        ema=ModelEmaV3(model, config.trainer.ema_decay) if config.trainer.ema_decay else None,
    )


def scaled_lr(optimizer: Optimizer, global_batch: int) -> float:
    """The learning rate for this global batch."""
    if optimizer.lr_base_size is None:
        return optimizer.lr
    return optimizer.lr * global_batch / optimizer.lr_base_size


def build_optimizer(optimizer: Optimizer, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """One of timm's optimizers; with `decay_all` off, biases and normalisations do not decay.

    Raises:
        InputError: There is no such optimizer, or it cannot work here.
    """
    names = [str(name) for name in list_optimizers()]
    if optimizer.name not in names:
        raise InputError(
            f"optimizer.name={optimizer.name}: timm has no such optimizer; "
            f"{nearest(optimizer.name, names, 'timm.optim.list_optimizers() has them all')}"
        )
    if get_optimizer_info(optimizer.name).second_order:
        raise InputError(f"optimizer.name={optimizer.name}: needs second derivatives of the loss")
    try:
        return create_optimizer_v2(
            model,
            opt=optimizer.name,
            lr=lr,
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
            filter_bias_and_bn=not optimizer.decay_all,
        )
    except (ValueError, AssertionError, ImportError, RuntimeError) as error:
        raise InputError(f"optimizer.name={optimizer.name}: {error}") from error


def build_schedule(schedule: ScheduleConfig, lr: float, steps_per_epoch: int) -> Schedule:
    """The learning rate over the run, `lr` at its top."""
    values = dataclasses.asdict(schedule)
    values["milestones"] = tuple(schedule.milestones or ())
    values["gamma"] = 1.0 if schedule.gamma is None else schedule.gamma
    return Schedule(lr=lr, steps_per_epoch=steps_per_epoch, **values)


def _start_from(path: str | None, model: nn.Module) -> None:
    if path is None:
        return
    note = load_weights(model, read_checkpoint(path), new_head=True)
    if note:
        print(note, flush=True)


def _build_step(config: Config, model: nn.Module, lr: float, runtime: Runtime) -> UpdateStep:
    trainer = config.trainer
    return UpdateStep(
        parallel_model(model, compiled=trainer.compile, runtime=runtime),
        build_optimizer(config.optimizer, model, lr),
        runtime,
        samples=config.data.batch_size * trainer.grad_accum_steps,
        label_smoothing=config.augment.label_smoothing,
        clipping=Clipping(trainer.clip_grad, trainer.clip_mode),
        on_nonfinite=trainer.on_nonfinite,
    )


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


def _loop_settings(config: Config) -> LoopSettings:
    return LoopSettings(
        seed=config.seed,
        max_steps=config.trainer.max_steps,
        eval_every=config.trainer.eval_every,
        log_every=config.trainer.log_every,
        max_unreadable=config.data.max_unreadable,
        skip_unreadable=config.data.on_unreadable == "skip",
    )


def _describe(config: Config, preprocessing: Preprocessing, names: list[str]) -> dict[str, Any]:
    """What a checkpoint says about its network."""
    assert config.model is not None
    return {
        "model": dataclasses.asdict(config.model),
        "preprocessing": dataclasses.asdict(preprocessing),
        "class_names": list(names),
        "config": to_yaml(config),
    }
