"""From pixels of 8 bits to the network's input."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """The map (pixels / 255 - mean) / std, on any device.

    A pixel becomes the same float32 on every device: one product and one sum, each rounded.

    Attributes:
        mean: Mean of each channel, with pixel values in 0 to 1.
        std: Standard deviation of each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return float32 images of the layout of `pixels` (..., C, H, W) uint8."""
        scale, shift = _factors(self.mean, self.std, pixels.device)
        return pixels.float().mul_(scale).add_(shift)


@lru_cache(maxsize=8)
def _factors(
    mean: Sequence[float], std: Sequence[float], device: torch.device
) -> tuple[Tensor, Tensor]:
    scale = 1 / (255 * torch.tensor(std).view(-1, 1, 1))
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(-1, 1, 1)
    return scale.to(device), shift.to(device)
