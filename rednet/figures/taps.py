"""What each of the K x K taps weighs on average, by layer and by stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rednet.figures.images import Images
from rednet.figures.layers import Layers, observe_kernels, stage_of


@dataclass(frozen=True)
class Taps:
    """Averages over images and positions of the weights of the taps, for each group.

    Attributes:
        signed: Of the weights themselves, (G, K, K).
        absolute: Of their absolute values, (G, K, K).
    """

    signed: np.ndarray
    absolute: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean weight over the groups too, (K, K)."""
        return self.signed.mean(0)

    @property
    def mean_absolute(self) -> np.ndarray:
        """Mean absolute weight over the groups too, (K, K): which taps are used."""
        return self.absolute.mean(0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over the groups of their mean weight, (K, K)."""
        return self.signed.std(0)


def measure_taps(model: nn.Module, images: Images, layers: Layers) -> dict[str, Taps]:
    """Averages the kernels that a network generates for images, by layer.

    Args:
        model: In evaluation mode.
        images: All count alike.
        layers: The involutions to look at.

    Raises:
        InputError: A kernel is not finite.
    """
    seen = observe_kernels(model, images.batches(), layers, _totals)
    return {name: _average(torch.stack(totals), len(images)) for name, totals in seen.items()}


def _totals(kernels: Tensor) -> Tensor:
    """Of (N, G, K, K, Ho, Wo), averaged over positions and added up over images: (2, G, K, K)."""
    return torch.stack([part.mean((4, 5)).sum(0) for part in (kernels, kernels.abs())])


def _average(totals: Tensor, count: int) -> Taps:
    signed, absolute = (totals.sum(0) / count).cpu().numpy()
    return Taps(signed, absolute)


def by_stage(taps: Mapping[str, Taps]) -> dict[str, Taps]:
    """The groups of all blocks of a stage together."""
    return {
        stage: Taps(
            np.concatenate([taps[name].signed for name in names]),
            np.concatenate([taps[name].absolute for name in names]),
        )
        for stage, names in ((stage, list(own)) for stage, own in groupby(taps, stage_of))
    }


def rows(taps: Mapping[str, Taps]) -> list[dict[str, Any]]:
    """The averages over groups of every tap of every layer or stage."""
    return [
        {
            "layer": name,
            "row": row,
            "column": column,
            "mean": float(own.mean[row, column]),
            "mean_absolute": float(own.mean_absolute[row, column]),
            "spread_over_groups": float(own.spread[row, column]),
        }
        for name, own in taps.items()
        for row, column in np.ndindex(own.mean.shape)
    ]


def distance_profile(taps: Taps) -> list[dict[str, float]]:
    """Mean absolute weight of the taps at each distance from the centre, and its spread.

    The spread is the standard deviation over the groups.
    """
    size = taps.absolute.shape[-1]
    down, right = np.indices((size, size)) - size // 2
    squared = down**2 + right**2
    profile = []
    for value in np.unique(squared):
        by_group = taps.absolute[:, squared == value].mean(1)
        profile.append(
            {
                "distance": float(value**0.5),
                "mean_absolute": float(by_group.mean()),
                "spread_over_groups": float(by_group.std()),
            }
        )
    return profile
