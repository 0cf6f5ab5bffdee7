"""The effective receptive field of each stage, its radii, and its figure.

It is the effective one of Luo et al., "Understanding the Effective Receptive Field in Deep
Convolutional Neural Networks", NeurIPS 2016, https://arxiv.org/abs/1701.04128.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.figures.geometry import Extent, theoretical_extents
from rednet.figures.input_images import Images
from rednet.figures.style import NOTE_SIZE, PAGE_WIDTH, SKY, paper_style
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


COLOURS = "magma"
DECADES = 4
"""Powers of ten that the colours span; less influence than that is black."""

LINE_STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")


@paper_style
def draw_receptive_fields(fields: list[ReceptiveField]) -> Figure:
    """The influence of every pixel by stage, logarithmic and relative to the greatest.

    Circles hold parts of it; a box is the theoretical receptive field, where the image is larger.
    """
    figure = Figure(figsize=(PAGE_WIDTH, PAGE_WIDTH / len(fields) + 0.25), layout="constrained")
    panels = figure.subplots(1, len(fields), squeeze=False)[0]
    for axes, field in zip(panels, fields, strict=True):
        drawn = _draw_influence(axes, field)
        _draw_circles(axes, field)
        _draw_box(axes, field)
        axes.set_title(_title(field))
    bar = figure.colorbar(drawn, ax=panels, fraction=0.03, pad=0.01, aspect=28)
    bar.ax.tick_params(labelsize=NOTE_SIZE, length=2, pad=1)
    bar.set_label("influence", fontsize=6)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    return figure


def _legend() -> list[Line2D]:
    circles = [
        Line2D([], [], color="black", linestyle=style, label=f"{100 * part:g} % of the influence")
        for part, style in zip(PARTS, LINE_STYLES, strict=True)
    ]
    return [*circles, Line2D([], [], color=SKY, label="theoretical receptive field")]


def _title(field: ReceptiveField) -> str:
    if field.extent is None:
        return field.stage
    return f"{field.stage} (theoretically {field.extent.width} px)"


def _draw_influence(axes: Axes, field: ReceptiveField) -> AxesImage:
    least = 10.0**-DECADES
    influence = np.maximum(field.influence / field.influence.max(), least)
    ends = [0, len(influence) - 1]
    drawn = axes.imshow(influence, cmap=COLOURS, norm=LogNorm(least, 1), interpolation="nearest")
    axes.set(xticks=ends, yticks=ends, autoscale_on=False)
    axes.label_outer()
    return drawn


def _draw_circles(axes: Axes, field: ReceptiveField) -> None:
    row, column = field.centre
    for part, style in zip(PARTS, LINE_STYLES, strict=True):
        circle = Circle((column, row), field.radius(part))
        circle.set(fill=False, edgecolor="white", linestyle=style, linewidth=0.8)
        axes.add_patch(circle)


def _draw_box(axes: Axes, field: ReceptiveField) -> None:
    if field.extent is None:
        return
    row, column = (centre - field.extent.before - 0.5 for centre in field.centre)
    box = Rectangle((column, row), field.extent.width, field.extent.width)
    box.set(fill=False, edgecolor=SKY, linewidth=1.0)
    axes.add_patch(box)
