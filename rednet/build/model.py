"""Build the network from the configuration; place, compile and wrap it."""

import copy
import os
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
from rednet.ops.library_cache import use_private_cache
from rednet.optimization import optimize
from rednet.program import say
from rednet.runtime import Runtime
from rednet.wording import count

OPTIMIZED_BATCH = 4
"""Images on which an optimized network is compared with the original."""


def build_model(model: Model, num_classes: int, in_chans: int) -> nn.Module:
    """Build a network from timm's registry, which includes RedNet.

    Raises:
        InputError: timm has no such network, or the options do not suit it.
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
    """Return a suggestion of names similar to `name`, or `otherwise` if there is none."""
    near = get_close_matches(name, names, n=2)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def place_model(model: nn.Module, trainer: Trainer, runtime: Runtime) -> nn.Module:
    """Move the network to its device and apply the trainer's settings to it.

    Raises:
        InputError: The network or the device does not support a setting.
    """
    if trainer.grad_checkpointing:
        _enable_grad_checkpointing(model)
    if trainer.sync_bn:
        if runtime.device.type != "cuda":
            raise InputError("trainer.sync_bn=true: PyTorch synchronises batch norm on GPUs only")
        model = convert_sync_batchnorm(model)
        if not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
            raise InputError("trainer.sync_bn=true: the network has no batch norm to synchronise")
    if trainer.precision == "fp16" and runtime.device.type == "cpu" and runtime.is_primary:
        say("warning: trainer.precision=fp16 is slow on a CPU; bf16 may not be")
    return runtime.place(model)


@torch.no_grad()
def check_forward(
    model: nn.Module,
    name: str,
    num_classes: int,
    preprocessing: Preprocessing,
    runtime: Runtime,
) -> None:
    """Run the network on one blank image, so that it fails before the data are read.

    Raises:
        InputError: The network does not accept images of this shape, or returns no logits.
    """
    size, training = preprocessing.image_size, model.training
    try:
        with runtime.autocast():
            logits = model.eval()(_blank_image(preprocessing, runtime))
    except (ValueError, TypeError, AssertionError, LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        shape = f"{preprocessing.in_chans}x{size}x{size}"
        raise InputError(f"model {name} fails on images of {shape}: {reason}") from error
    model.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        what = f"no logits of {count(num_classes, 'class')}"
        raise InputError(f"model {name} with these options gives {what}")


def optimize_model(
    model: nn.Module, trainer: Trainer, preprocessing: Preprocessing, runtime: Runtime
) -> nn.Module:
    """Return the network as `rednet.optimize` makes it if the user asks for that."""
    if not trainer.optimize:
        return model
    size, generator = preprocessing.image_size, torch.Generator().manual_seed(0)
    images = torch.randn(OPTIMIZED_BATCH, preprocessing.in_chans, size, size, generator=generator)
    with runtime.autocast():
        return optimize(model, runtime.place_images(images), quiet=not runtime.is_primary)


def check_single_image_batch(
    model: nn.Module, preprocessing: Preprocessing, runtime: Runtime
) -> None:
    """Run a copy of the network in training mode on a batch of one image, as the last may be.

    Raises:
        InputError: A normalisation layer has only one value per channel.
    """
    size = preprocessing.image_size
    try:
        copy.deepcopy(model).train()(_blank_image(preprocessing, runtime))
    except ValueError as error:
        raise InputError(
            f"one batch per epoch has a single image, but this network cannot be trained on a "
            f"single image of {size}x{size} ({error}): choose another data.batch_size"
        ) from error


def _blank_image(preprocessing: Preprocessing, runtime: Runtime) -> torch.Tensor:
    size = preprocessing.image_size
    return runtime.place_images(torch.zeros(1, preprocessing.in_chans, size, size))


def _enable_grad_checkpointing(model: Any) -> None:
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise InputError(
            f"trainer.grad_checkpointing=true: {type(model).__name__} does not support it"
        ) from error


def parallel_model(model: nn.Module, *, compiled: bool, runtime: Runtime) -> nn.Module:
    """Compile the network if asked to, and wrap it for several processes."""
    if compiled:
        # By default both are below /tmp, where anybody can make them first.
        use_private_cache("TORCHINDUCTOR_CACHE_DIR", "torchinductor")
        if "TRITON_CACHE_DIR" in os.environ:
            use_private_cache("TRITON_CACHE_DIR", "triton")
        model = cast(nn.Module, torch.compile(model))
    if runtime.world_size == 1:
        return model
    devices = [runtime.device] if runtime.device.type == "cuda" else None
    # Around the compiled network: torch compiles it in the first forward pass of this wrapper, sees
    # the wrapper (torch/_dynamo/convert_frame.py, `_get_active_ddp_module`) and splits the graph at
    # its buckets (torch/_dynamo/backends/distributed.py), so that one bucket is exchanged while the
    # gradients of the next are computed. Compiling the wrapper would give the same graphs.
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)
