"""Build the network that a file describes, unless that is absurd for the tensors that it has.

A file of a few bytes may name a network of a million layers, or kernels of gigabytes.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn
from torch.nn.modules import module as hooks

from rednet.errors import InputError
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.messages import printable

MAX_CHANNELS = 4
"""Most channels of an image: colours and transparency."""
MAX_OPTION = 10**6
"""Largest number in a network's options."""
PARTS_PER_TENSOR, MORE_PARTS = 8, 1000
"""Layers, parameters and buffers that a network may make for each tensor of the file."""
BYTES_PER_BYTE, MORE_BYTES = 4, 64 * 2**20
"""Size of a network for each byte of the file's tensors, which may be of half precision."""


class _TooLargeError(ValueError):
    """A network has more parts than its file has tensors."""


def require_plausible(checkpoint: Checkpoint) -> None:
    """Build the network that a file names without memory, and refuse one of another size.

    What was inferred from the tensors is of their size.

    Raises:
        InputError: The network has far more layers or numbers than the file.
    """
    network = checkpoint.file_model or checkpoint.model
    if network is None or checkpoint.is_inferred:
        return
    if not all(map(_is_plain, _values([network["name"], network["options"]]))):
        raise InputError(
            f"{checkpoint.label}: cannot build {checkpoint.describe_network()}: its options have "
            f"a number above {MAX_OPTION:,}, or a reference"
        )
    with torch.device("meta"), _limited(len(checkpoint.state_dict)):
        empty = build_network(checkpoint, network)
    size = sum(tensor.nbytes for tensor in (*empty.parameters(), *empty.buffers()))
    found = sum(tensor.nbytes for tensor in checkpoint.state_dict.values())
    if size > BYTES_PER_BYTE * found + MORE_BYTES:
        raise InputError(
            f"{checkpoint.label}: cannot build {checkpoint.describe_network()}: it would take "
            f"{size:,} bytes, the file's tensors take {found:,}"
        )


def build_network(checkpoint: Checkpoint, network: Mapping[str, Any]) -> nn.Module:
    """Build a network for a checkpoint's classes and channels.

    Raises:
        InputError: timm does not have it, or cannot build it with these options.
    """
    if not timm.is_model(network["name"]):
        name = printable(network["name"])
        raise InputError(f"{checkpoint.label}: timm has no model named {name}")
    options = {**num_classes_and_in_chans(checkpoint), **network["options"]}
    try:
        return timm.create_model(network["name"], **options)
    except Exception as error:  # options from a file may raise anything
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise InputError(
            f"{checkpoint.label}: cannot build {checkpoint.describe_network()}: {reason}"
        ) from error


@contextmanager
def _limited(num_tensors: int) -> Iterator[None]:
    """Let networks have only so many parts while the context is open."""
    left = PARTS_PER_TENSOR * num_tensors + MORE_PARTS

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooLargeError(
                f"it has far more layers than the file, which has {num_tensors} tensors"
            )

    with ExitStack() as stack:
        for register in (
            hooks.register_module_module_registration_hook,
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
        ):
            stack.callback(register(count).remove)
        yield


def _values(value: Any) -> Iterator[Any]:
    """Yield all keys and values in nested options."""
    if isinstance(value, Mapping):
        yield from value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _values(item)
    else:
        yield value


def _is_plain(value: Any) -> bool:
    """Whether a value is no absurd number, and no reference that a configuration would follow."""
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) <= MAX_OPTION
    return not isinstance(value, str) or "${" not in value


def count_channels(checkpoint: Checkpoint) -> int | None:
    """Return the image channels that a checkpoint's network takes, None if unknown.

    A first layer with more inputs than images have channels takes pixels of a patch together.
    """
    found = num_classes_and_in_chans(checkpoint).get("in_chans")
    return found if found is None or found <= MAX_CHANNELS else None


def num_classes_and_in_chans(checkpoint: Checkpoint) -> dict[str, int]:
    """Return `num_classes` and `in_chans` as far as the checkpoint or its tensors tell.

    timm's configuration of the model names the layers whose shapes tell them.
    """
    assert checkpoint.model is not None
    cfg = get_pretrained_cfg(checkpoint.model["name"])
    layers = (cfg.classifier, cfg.first_conv) if cfg else (None, None)
    known = {"num_classes": checkpoint.num_classes, "in_chans": checkpoint.in_chans}
    for axis, (option, layer) in enumerate(zip(known, layers, strict=True)):
        weight = checkpoint.state_dict.get(f"{layer}.weight")
        if known[option] is None and weight is not None and weight.ndim > axis:
            known[option] = weight.shape[axis]
    return {option: count for option, count in known.items() if count is not None}
