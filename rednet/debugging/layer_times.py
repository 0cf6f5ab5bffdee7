"""How long each block of a network takes, forward and backward, from a profile."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import record_function

PREFIX = "layer: "
DEPTH = 2
"""Levels of modules that are told apart, such as layer3.2: hooks further inside would keep layers
from being computed as one."""


class Layers:
    """Marks the blocks of a network in a trace.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark each call of a block; containers that are not called have no mark."""
        open_ranges: list[Any] = []
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                if name and name.count(".") < DEPTH and _is_block(name, module):
                    for hook in _mark(name, module, open_ranges):
                        stack.callback(hook.remove)
            yield


def _is_block(name: str, module: nn.Module) -> bool:
    """Return whether hooks of a module leave the computation as it is: one of several layers."""
    is_whole = "." not in name and not any(True for _ in module.children())
    is_bare = isinstance(module, nn.BatchNorm2d | nn.ReLU | nn.Identity)
    return not is_bare and (is_whole or len(list(module.children())) > 1)


def _mark(name: str, module: nn.Module, open_ranges: list[Any]) -> tuple[Any, Any]:
    def before(*_: Any) -> None:
        open_ranges.append(record_function(f"{PREFIX}{name}"))
        open_ranges[-1].__enter__()

    def after(*_: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    return module.register_forward_pre_hook(before), module.register_forward_hook(after)


def layer_seconds(events: Iterable[Any], device: torch.device) -> dict[str, tuple[float, float]]:
    """Return the seconds of forward and backward pass of each block.

    An operation of the backward pass has the sequence number of the one that recorded it.

    Args:
        events: Events of a profile.
        device: Where the network computes.
    """
    events = list(events)
    owners: dict[int, str] = {}
    for event in events:
        owner = _owner(event)
        if owner is not None and event.sequence_nr >= 0:
            owners[event.sequence_nr] = owner
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for event in events:
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        owner = _owner(event)
        if owner is not None:
            seconds[owner][0] += own / 1e6
        elif (number := _sequence_number(event)) is not None and number in owners:
            seconds[owners[number]][1] += own / 1e6
    return {name: (forward, backward) for name, (forward, backward) in seconds.items()}


def _owner(event: Any) -> str | None:
    """Return the innermost block in whose forward pass an operation is."""
    while event is not None:
        if event.name.startswith(PREFIX):
            return str(event.name.removeprefix(PREFIX))
        event = event.cpu_parent
    return None


def _sequence_number(event: Any) -> int | None:
    """Return the sequence number of the operation of the backward pass that an event is part of."""
    found = None
    while event is not None:
        if event.name.startswith("autograd::engine::evaluate_function"):
            found = int(event.sequence_nr)
        event = event.cpu_parent
    return found
