"""Average pooling that covers every pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CeilAvgPool2d(nn.Module):
    """`nn.AvgPool2d(stride, ceil_mode=True)`: windows at the edge average the pixels they have.

    It exists because Inductor (torch 2.14.1) compiles a wrong gradient for `ceil_mode` on sizes
    that are not multiples of the stride.
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
        missing = (-width % self.stride, -height % self.stride)
        if missing == (0, 0):
            return F.avg_pool2d(x, self.stride)
        averages = F.avg_pool2d(F.pad(x, (0, missing[0], 0, missing[1])), self.stride)
        count = self._count(height, x)[:, None] * self._count(width, x)
        return averages * (self.stride**2 / count)

    def _count(self, size: int, x: Tensor) -> Tensor:
        """Return how many of `size` pixels are in each window along one side."""
        starts = torch.arange(0, size, self.stride, device=x.device)
        return (size - starts).clamp(max=self.stride).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the stride, for print(model)."""
        return f"{self.stride}"
