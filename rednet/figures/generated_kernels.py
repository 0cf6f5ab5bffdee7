"""The involutions of a network by name, and the kernels that they generate for images."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.layers import Involution2d

Layers = Mapping[str, Involution2d]
Seen = TypeVar("Seen")


def involutions(model: nn.Module) -> dict[str, Involution2d]:
    """The involutions of a network in their order, called after their block: stem, layer3.2.

    In networks other than RedNet they have the name of the module.
    """
    return {
        _short(name): module
        for name, module in model.named_modules()
        if isinstance(module, Involution2d)
    }


def _short(name: str) -> str:
    return "stem" if name == "stem.1" else name.removesuffix(".conv2")


def stage_of(layer: str) -> str:
    """The stage of a layer: layer3 for layer3.2."""
    return layer.partition(".")[0]


def choose_layers(model: nn.Module, names: Collection[str] | None) -> dict[str, Involution2d]:
    """The named involutions of a network, or the last one of each stage.

    Raises:
        InputError: There is none of that name, or none at all.
    """
    known = involutions(model)
    if not known:
        raise InputError("this network has no involution, so there are no kernels to look at")
    if names is None:
        last = {stage_of(name): name for name in known if name != "stem"}
        names = list(last.values()) or list(known)
    for name in names:
        if name not in known:
            raise InputError(f"layers: {name!r} has no involution; these have: {', '.join(known)}")
    return {name: known[name] for name in names}


def observe_kernels(
    model: nn.Module,
    batches: Iterator[Tensor],
    layers: Layers,
    observe: Callable[[Tensor], Seen],
) -> dict[str, list[Seen]]:
    """Runs a network on images and looks at each kernel while it is there.

    Args:
        model: In evaluation mode.
        batches: Of images (N, C, H, W).
        layers: The involutions to look at.
        observe: Gets kernels (N, G, K, K, Ho, Wo) in float32 and returns what is to be kept.

    Returns:
        By layer, what `observe` returned for each batch.

    Raises:
        InputError: A kernel is not finite.
    """
    seen: dict[str, list[Seen]] = {name: [] for name in layers}

    def look(name: str, layer: Involution2d, x: Tensor) -> None:
        kernels = layer.kernel(x).float()
        if not kernels.isfinite().all():
            raise InputError(
                f"{name} generates kernels that are not finite: the network has diverged"
            )
        size = layer.window.kernel_size
        seen[name].append(observe(kernels.unflatten(1, (layer.groups, size, size))))

    with torch.no_grad(), _watching(layers, look):
        for batch in batches:
            model(batch)
    return seen


@contextmanager
def _watching(layers: Layers, look: Callable[[str, Involution2d, Tensor], None]) -> Iterator[None]:
    """Calls `look` with each layer's name, itself and its input, before it runs."""

    def hook(name: str) -> Callable[[Any, Sequence[Tensor]], None]:
        return lambda layer, inputs: look(name, layer, inputs[0])

    with ExitStack() as stack:
        for name, layer in layers.items():
            handle = layer.register_forward_pre_hook(hook(name))
            stack.callback(handle.remove)
        yield
