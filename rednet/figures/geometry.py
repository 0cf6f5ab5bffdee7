"""Which pixels of the image a layer sees, computed from the windows of the layers before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from rednet.figures.generated_kernels import InvolutionLayers
from rednet.layers import Involution2d
from rednet.models.blocks import Downsample
from rednet.models.rednet import RedNet


@dataclass(frozen=True)
class Extent:
    """The pixels that an output can depend on, along one side of the image.

    Attributes:
        before: Number of pixels before the output's centre.
        after: Number of pixels after the output's centre.
    """

    before: int
    after: int

    @property
    def width(self) -> int:
        """Number of pixels along a side."""
        return self.before + 1 + self.after


def kernel_centres(model: nn.Module, layers: InvolutionLayers, size: int) -> dict[str, np.ndarray]:
    """Return the pixels that the kernels of involutions are generated from, by layer: (Ho,).

    The centre of a feature map's position is the pixel in the middle of its windows, the product of
    index and stride; the centres of a map are therefore not spread evenly over the image. A layer
    of stride s generates a kernel from s x s positions, or fewer at the edge, and the kernel's
    centre is the mean of theirs.

    Args:
        model: A RedNet; its windows are odd and padded by half, its layers registered in order.
        layers: Involutions of the network.
        size: Height and width of the images in pixels.
    """
    pixels, centres = np.arange(size, dtype=np.float64), {}
    for module in _spatial(model):
        stride, _, _ = _window(module)
        centres[module] = np.array(
            [pixels[start : start + stride].mean() for start in range(0, len(pixels), stride)]
        )
        pixels = pixels[::stride]
    return {name: centres[layer] for name, layer in layers.items()}


def theoretical_extents(model: RedNet) -> dict[str, Extent]:
    """Return the theoretical receptive fields of stem and stages, kernel branches included."""
    extents, layers = {}, []
    for name, child in model.named_children():
        layers += list(_spatial(child))
        if name in {stage["module"] for stage in model.feature_info}:
            extents[name] = _extent(layers)
    return extents


def _spatial(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers with a window in execution order, without shortcuts, which see less."""
    if isinstance(module, Involution2d | nn.Conv2d | nn.MaxPool2d):
        yield module
    elif not isinstance(module, Downsample):
        for child in module.children():
            yield from _spatial(child)


def _extent(layers: list[nn.Module]) -> Extent:
    """Return the extent of an output of the last of consecutive layers."""
    before = after = 0
    for module in reversed(layers):
        stride, left, right = _window(module)
        before, after = before * stride + left, after * stride + right
    return Extent(before, after)


def _window(module: Any) -> tuple[int, int, int]:
    """Return a layer's stride, and how far its window reaches before and after its centre."""
    if isinstance(module, Involution2d):
        window = module.window
        # At stride s a kernel is generated from s pixels; the first is the window's centre.
        return window.stride, window.padding, max(window.padding, window.stride - 1)
    size, stride, padding, dilation = (
        _first(value)
        for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    return stride, padding, dilation * (size - 1) - padding


def _first(value: Any) -> int:
    return value[0] if isinstance(value, tuple) else value
