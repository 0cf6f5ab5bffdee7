"""Average pooling that leaves no pixel out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CeilAvgPool2d(nn.Module):
    """`nn.AvgPool2d(stride, ceil_mode=True)`: windows beyond the edge average what is there.

    Written out because the gradient that Inductor (torch 2.14.1) compiles for `ceil_mode` is wrong
    on sizes that the stride does not divide.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ceil(H/stride), ceil(W/stride))."""
        height, width = x.shape[2:]
        missing = (-width % self.stride, -height % self.stride)
        if missing == (0, 0):
            return F.avg_pool2d(x, self.stride)
        averages = F.avg_pool2d(F.pad(x, (0, missing[0], 0, missing[1])), self.stride)
        count = self._count(height, x)[:, None] * self._count(width, x)
        return averages * (self.stride**2 / count)

    def _count(self, size: int, x: Tensor) -> Tensor:
        """How many of `size` pixels lie in each window along one side."""
        starts = torch.arange(0, size, self.stride, device=x.device)
        return (size - starts).clamp(max=self.stride).to(x.dtype)

    def extra_repr(self) -> str:
        """The stride, for print(model)."""
        return f"{self.stride}"
