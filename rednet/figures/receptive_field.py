"""The receptive field that a network uses, and how much of it lies near the centre.

It is the effective one of Luo et al., "Understanding the Effective Receptive Field in Deep
Convolutional Neural Networks", NeurIPS 2016, https://arxiv.org/abs/1701.04128.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.figures.geometry import Extent, theoretical_extents
from rednet.figures.images import Images
from rednet.models.rednet import RedNet

STAGES = 4
"""The last so many stages of a network are looked at."""

PARTS = (0.5, 0.9, 0.95)
"""Of the effective receptive field, whose radii are of interest."""


@dataclass(frozen=True)
class ReceptiveField:
    """Of the middle pixel of a stage's output.

    Attributes:
        stage: Name of the stage.
        influence: Of every pixel of the image, (S, S); its sum is 1.
        centre: Row and column that the pixel lies on.
        extent: Beyond which there is no influence; None where it is not known.
    """

    stage: str
    influence: np.ndarray
    centre: tuple[int, int]
    extent: Extent | None

    def radius(self, part: float) -> float:
        """Of the smallest disc about the centre, in pixels, that holds a part of the influence."""
        row, column = np.indices(self.influence.shape)
        distance = np.hypot(row - self.centre[0], column - self.centre[1]).ravel()
        order = np.argsort(distance, kind="stable")
        held = np.cumsum(self.influence.ravel()[order])
        return float(distance[order][min(np.searchsorted(held, part), len(order) - 1)])


def has_stages(model: nn.Module) -> bool:
    """Whether a network tells its stages and gives their outputs."""
    return bool(_stages(model)) and hasattr(model, "forward_intermediates")


def receptive_fields(model: nn.Module, images: Images) -> list[ReceptiveField]:
    """The effective receptive field of the middle pixel of each of the last stages' outputs.

    It is the mean over the images of |d(output)/d(input)|, the output added up over its channels
    and the derivative over the image's. The kernels of an involution depend on the image; that
    way to the output counts as any other.

    Args:
        model: One of timm's that gives the outputs of its stages, in evaluation mode.
        images: All count alike.

    Raises:
        InputError: The network does not tell its stages, or no finite gradient reaches the image.
    """
    if not has_stages(model):
        raise InputError("this network does not tell its stages, so they have no receptive fields")
    gradients = torch.stack([_gradients(model, batch) for batch in images.batches()]).sum(0)
    extents = theoretical_extents(model) if isinstance(model, RedNet) else {}
    return [
        _field(stage["module"], gradient, stage["reduction"], extents.get(stage["module"]))
        for stage, gradient in zip(_stages(model), gradients.cpu().numpy(), strict=True)
    ]


def _stages(model: nn.Module) -> list[dict[str, Any]]:
    return list(getattr(model, "feature_info", ()))[-STAGES:]


def _gradients(model: Any, batch: Tensor) -> Tensor:
    """The stages' gradients for the image, absolute, added up over images and channels: (., S, S).

    A sample's output depends on that sample alone: one backward pass serves all of them.
    """
    batch = batch.clone().requires_grad_()
    outputs = model.forward_intermediates(batch, indices=STAGES, intermediates_only=True)
    gradients = []
    for output in outputs:
        middle = output[:, :, output.shape[2] // 2, output.shape[3] // 2].sum()
        (gradient,) = torch.autograd.grad(middle, batch, retain_graph=True)
        gradients.append(gradient.abs().sum((0, 1)))
    return torch.stack(gradients)


def _field(
    stage: str, gradient: np.ndarray, reduction: int, extent: Extent | None
) -> ReceptiveField:
    gradient = gradient.astype(np.float64)
    total = gradient.sum()
    if not np.isfinite(total) or total == 0:
        raise InputError(
            f"no finite gradient reaches the image from {stage}: the network has diverged or is "
            "all zeros"
        )
    centre = tuple(-(-size // reduction) // 2 * reduction for size in gradient.shape)
    return ReceptiveField(stage, gradient / total, (centre[0], centre[1]), extent)


def radius_rows(fields: list[ReceptiveField]) -> list[dict[str, Any]]:
    """The radii of every field, in pixels of the image, and how wide it could be."""
    return [
        {
            "stage": field.stage,
            "theoretical_width": field.extent.width if field.extent else "",
            "image_size": field.influence.shape[0],
            **{f"radius_{100 * part:g}": field.radius(part) for part in PARTS},
        }
        for field in fields
    ]
