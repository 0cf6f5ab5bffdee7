"""Average pooling that covers every pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true

from rednet.layers.repeatable import repeatable


@repeatable
class CeilAvgPool2d(nn.Module):
    """`nn.AvgPool2d(stride, ceil_mode=True)`: windows at the edge average the pixels they have.

    It exists because Inductor (torch 2.14.1) compiles a wrong gradient for `ceil_mode` on sizes
    that are not multiples of the stride, and because the size of its output is a formula with a
    condition, which would tie an exported network to sizes like the example's.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H/stride), ceil(W/stride))."""
        # A trace records one branch of a Python `if`, so none depends on the size here.
        if torch.compiler.is_compiling():
            return self._pad_and_pool(x)
        return F.avg_pool2d(x, self.stride, ceil_mode=True)

    def _pad_and_pool(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if all(statically_known_true(size % self.stride == 0) for size in (height, width)):
            return F.avg_pool2d(x, self.stride)
        # Enough zeros for every size: windows that begin beyond the image are not computed, and the
        # size of the output is torch's formula for a convolution of this stride, term by term.
        missing = self.stride - 1
        averages = F.avg_pool2d(F.pad(x, (0, missing, 0, missing)), self.stride)
        rows, columns = averages.shape[2:]
        count = self._count(height, rows, x)[:, None] * self._count(width, columns, x)
        return averages * (self.stride**2 / count)

    def _count(self, size: int, windows: int, x: Tensor) -> Tensor:
        """Return how many of `size` pixels are in each of the windows along one side."""
        starts = self.stride * torch.arange(windows, device=x.device)
        return (size - starts).clamp(max=self.stride).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the stride, for print(model)."""
        return f"{self.stride}"
