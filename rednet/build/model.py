"""The configured network: built, placed, compiled, wrapped for several processes."""

import copy
from difflib import get_close_matches
from typing import Any, cast

import timm
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn

import rednet.registry  # noqa: F401 (registers the names with timm)
from rednet.config import Model, Trainer
from rednet.data import Preprocessing
from rednet.errors import InputError
from rednet.runtime import Runtime


def build_model(model: Model, num_classes: int, in_chans: int) -> nn.Module:
    """A network of timm's registry, RedNet among them, for the data at hand.

    Raises:
        InputError: There is no such network, or it cannot be built with these options.
    """
    if not timm.is_model(model.name):
        raise InputError(
            f"model.name={model.name}: timm has no such model; "
            f"{nearest(model.name, timm.list_models(), 'timm.list_models() has them all')}"
        )
    options = {name: value for name, value in model.options.items() if value is not None}
    try:
        return timm.create_model(model.name, num_classes=num_classes, in_chans=in_chans, **options)
    except (ValueError, TypeError, AssertionError, LookupError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"model {model.name} with options {options}: {reason}") from error


def nearest(name: str, names: list[str], otherwise: str) -> str:
    """A question after the names that look like `name`, or what to say where none does."""
    near = get_close_matches(name, names, n=2)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def place_model(model: nn.Module, trainer: Trainer, runtime: Runtime) -> nn.Module:
    """The network on its device, as the trainer's settings want it.

    Raises:
        InputError: The network or the device cannot do what is asked for.
    """
    if trainer.grad_checkpointing:
        _enable_grad_checkpointing(model)
    if trainer.sync_bn:
        if runtime.device.type != "cuda":
            raise InputError("trainer.sync_bn=true: torch synchronises statistics on GPUs only")
        model = convert_sync_batchnorm(model)
    if trainer.precision == "fp16" and runtime.device.type == "cpu" and runtime.is_primary:
        print("warning: trainer.precision=fp16 is slow on a CPU; bf16 may not be", flush=True)
    return runtime.place(model)


@torch.no_grad()
def check_forward(
    model: nn.Module,
    name: str,
    num_classes: int,
    preprocessing: Preprocessing,
    runtime: Runtime,
) -> None:
    """Runs a network on one empty picture before the first real one.

    Raises:
        InputError: It cannot take pictures of this size, or does not classify.
    """
    size, training = preprocessing.image_size, model.training
    try:
        with runtime.autocast():
            logits = model.eval()(_empty_picture(preprocessing, runtime))
    except (ValueError, TypeError, AssertionError, LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        shape = f"{preprocessing.in_chans}x{size}x{size}"
        raise InputError(f"model {name} fails on pictures of {shape}: {reason}") from error
    model.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        raise InputError(f"model {name} with these options gives no logits of classes")


def check_single_image_batch(
    model: nn.Module, preprocessing: Preprocessing, runtime: Runtime
) -> None:
    """Trains a copy of the network on a batch of one picture, which some batches may come down to.

    Raises:
        InputError: It cannot: a normalisation has nothing to take statistics of.
    """
    size = preprocessing.image_size
    try:
        copy.deepcopy(model).train()(_empty_picture(preprocessing, runtime))
    except ValueError as error:
        raise InputError(
            f"a batch of an epoch comes down to one picture, and of one picture of {size}x{size} "
            f"this network cannot learn ({error}): choose another data.batch_size"
        ) from error


def _empty_picture(preprocessing: Preprocessing, runtime: Runtime) -> torch.Tensor:
    size = preprocessing.image_size
    return runtime.place_images(torch.zeros(1, preprocessing.in_chans, size, size))


def _enable_grad_checkpointing(model: Any) -> None:
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise InputError(
            f"trainer.grad_checkpointing=true: {type(model).__name__} knows no such thing"
        ) from error


def parallel_model(model: nn.Module, *, compiled: bool, runtime: Runtime) -> nn.Module:
    """The network as a training step runs it: compiled, and one of several."""
    if compiled:
        model = cast(nn.Module, torch.compile(model))
    if runtime.world_size == 1:
        return model
    devices = [runtime.device] if runtime.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)
