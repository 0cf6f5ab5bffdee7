"""Which pixels of the image the layers of a network look at, told from their windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from rednet.figures.generated_kernels import Layers
from rednet.layers import Involution2d
from rednet.models.blocks import Downsample
from rednet.models.rednet import RedNet


@dataclass(frozen=True)
class Extent:
    """Pixels of the image from which an output can know: as many before its centre, and after."""

    before: int
    after: int

    @property
    def width(self) -> int:
        """Pixels along a side."""
        return self.before + 1 + self.after


def kernel_centres(model: nn.Module, layers: Layers, size: int) -> dict[str, np.ndarray]:
    """Where in the image the kernels of involutions are generated from, by layer: (Ho,) pixels.

    A position of a feature map lies on the pixel in the middle of its windows, stride times its
    index, so that those of a whole map are not spread evenly over the image. A layer of stride s
    makes a kernel from s x s positions, fewer at the edge, and it lies in the middle of these.

    Args:
        model: A RedNet: odd windows, padded by half, registered in the order of running.
        layers: Involutions of it.
        size: Pixels along a side of its images; rows and columns are alike.
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
    """How far the outputs of the stem and of each stage could see, kernel branches included."""
    extents, passed = {}, []
    for name, child in model.named_children():
        passed += list(_spatial(child))
        if name in {stage["module"] for stage in model.feature_info}:
            extents[name] = _extent(passed)
    return extents


def _spatial(module: nn.Module) -> Iterator[nn.Module]:
    """What looks at a window, in the order of running; shortcuts, which see less, are left out."""
    if isinstance(module, Involution2d | nn.Conv2d | nn.MaxPool2d):
        yield module
    elif not isinstance(module, Downsample):
        for child in module.children():
            yield from _spatial(child)


def _extent(passed: list[nn.Module]) -> Extent:
    before = after = 0
    for module in reversed(passed):
        stride, left, right = _window(module)
        before, after = before * stride + left, after * stride + right
    return Extent(before, after)


def _window(module: Any) -> tuple[int, int, int]:
    """Stride of a layer, and how far its window reaches before and after stride times its index."""
    if isinstance(module, Involution2d):
        window = module.window
        # At stride s a kernel is made from s pixels, the first of them in the window's centre.
        return window.stride, window.padding, max(window.padding, window.stride - 1)
    size, stride, padding, dilation = (
        _first(value)
        for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    return stride, padding, dilation * (size - 1) - padding


def _first(value: Any) -> int:
    return value[0] if isinstance(value, tuple) else value
