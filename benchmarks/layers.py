"""The involutions of RedNet-50, their cost, and the original's implementation with unfold.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.layers.involution import centred_window
from rednet.ops import Window

OPERATORS = {"forward": 1, "forward+backward": 3}
"""Number of operators that a pass runs; the three have equal operations and bytes."""


@dataclass(frozen=True)
class Layer:
    """An involution on square images."""

    name: str
    channels: int
    size: int
    kernel_size: int = 7
    stride: int = 1
    group_channels: int = 16

    @property
    def window(self) -> Window:
        """The window, centred on the pixel."""
        return centred_window(self.kernel_size, self.stride, 1)

    @property
    def out_size(self) -> int:
        """Ho = Wo."""
        return self.window.output_size(self.size)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """(G*K*K, Ho, Wo)."""
        groups = self.channels // self.group_channels
        return groups * self.window.area, self.out_size, self.out_size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(C, Ho, Wo)."""
        return self.channels, self.out_size, self.out_size

    def operations(self, batch: int) -> int:
        """Return the multiplications and additions of one operator, 2*N*C*K*K*Ho*Wo."""
        return 2 * batch * self.channels * self.window.area * self.out_size**2

    def elements(self, batch: int) -> int:
        """Return the elements that one operator reads or writes: input, weight and output."""
        shapes = (self.input_shape, self.weight_shape, self.output_shape)
        return batch * sum(torch.Size(shape).numel() for shape in shapes)


def layers_of(image_size: int) -> dict[str, Layer]:
    """Return the distinct involutions of RedNet-50 by name, from stem to stage 4."""
    sides = [-(-image_size // reduction) for reduction in (2, 4, 8, 16, 32)]
    layers = [Layer("stem", 32, sides[0], kernel_size=3), Layer("stage1", 64, sides[1])]
    for stage in (2, 3, 4):
        channels = 32 * 2**stage
        layers.append(Layer(f"stage{stage}-first", channels, sides[stage - 1], stride=2))
        layers.append(Layer(f"stage{stage}", channels, sides[stage]))
    return {layer.name: layer for layer in layers}


def random_inputs(
    layer: Layer,
    batch: int,
    dtype: torch.dtype,
    device: torch.device,
    layout: torch.memory_format,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return input, weight and gradient of the output, with the same numbers every time."""
    generator = torch.Generator().manual_seed(0)
    shapes = (layer.input_shape, layer.weight_shape, layer.output_shape)
    tensors = [
        torch.randn(batch, *shape, generator=generator).to(device, dtype, memory_format=layout)
        for shape in shapes
    ]
    return tensors[0], tensors[1], tensors[2]


def unfold_involution2d(
    input: Tensor, weight: Tensor, kernel_size: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Compute an involution as the original does: unfold K*K copies of the image, multiply, sum.

    After `cls/mmcls/models/utils/involution_naive.py` of the original repository.
    """
    batch, channels = input.shape[:2]
    height, width = weight.shape[2:]
    area = kernel_size * kernel_size
    groups = weight.shape[1] // area
    kernels = weight.view(batch, groups, area, height, width).unsqueeze(2)
    copies = F.unfold(input, kernel_size, dilation, padding, stride)
    copies = copies.view(batch, groups, channels // groups, area, height, width)
    return (kernels * copies).sum(dim=3).view(batch, channels, height, width)
