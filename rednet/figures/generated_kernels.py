"""The involutions of a network, and the kernels that they generate for images."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.layers import Involution2d

InvolutionLayers = Mapping[str, Involution2d]
"""Involutions by their short names, in execution order."""

Result = TypeVar("Result")


def find_involutions(model: nn.Module) -> dict[str, Involution2d]:
    """Return the involutions of a network, named after their blocks: stem, layer3.2.

    In networks other than RedNet, they have the names of their modules.
    """
    return {
        _short_name(name): module
        for name, module in model.named_modules()
        if isinstance(module, Involution2d)
    }


def _short_name(name: str) -> str:
    return "stem" if name == "stem.1" else name.removesuffix(".conv2")


def stage_of(layer: str) -> str:
    """Return the stage of a layer: layer3 for layer3.2."""
    return layer.partition(".")[0]


def select_involutions(model: nn.Module, names: Collection[str] | None) -> dict[str, Involution2d]:
    """Return the involutions with the given names, or by default the last one of each stage.

    Raises:
        InputError: No involution has a given name, or the network has no involution.
    """
    known = find_involutions(model)
    if not known:
        raise InputError("this network has no involution, so it generates no kernels")
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
    layers: InvolutionLayers,
    observe: Callable[[Tensor], Result],
) -> dict[str, list[Result]]:
    """Run a network on images and pass the generated kernels to a function.

    Args:
        model: The network, in evaluation mode.
        batches: Batches of images (N, C, H, W).
        layers: The involutions to observe.
        observe: Function of the kernels (N, G, K, K, Ho, Wo) in float32. It should return
            something small: the kernels of all layers and images do not fit into memory.

    Returns:
        The results of `observe` for each batch, by layer.

    Raises:
        InputError: A kernel is not finite.
    """
    results: dict[str, list[Result]] = {name: [] for name in layers}

    def call_observe(name: str, layer: Involution2d, x: Tensor) -> None:
        kernels = layer.kernel(x).float()
        if not kernels.isfinite().all():
            raise InputError(
                f"{name} generates kernels that are not finite: the network has diverged"
            )
        size = layer.window.kernel_size
        results[name].append(observe(kernels.unflatten(1, (layer.groups, size, size))))

    with torch.no_grad(), _input_hooks(layers, call_observe):
        for batch in batches:
            model(batch)
    return results


@contextmanager
def _input_hooks(
    layers: InvolutionLayers, function: Callable[[str, Involution2d, Tensor], None]
) -> Iterator[None]:
    """Call a function with a layer's name, the layer and its input before the layer runs."""

    def hook(name: str) -> Callable[[Any, Sequence[Tensor]], None]:
        return lambda layer, inputs: function(name, layer, inputs[0])

    with ExitStack() as stack:
        for name, layer in layers.items():
            handle = layer.register_forward_pre_hook(hook(name))
            stack.callback(handle.remove)
        yield
