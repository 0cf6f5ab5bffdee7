"""The effective receptive field of each stage: measurement, radii and figure.

Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
NeurIPS 2016, https://arxiv.org/abs/1701.04128.
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
from rednet.figures.input_images import InputImages
from rednet.figures.style import NOTE_SIZE, PAGE_WIDTH, SKY, paper_style
from rednet.models.rednet import RedNet

STAGES = 4
"""Number of stages measured, the last ones of the network."""

FRACTIONS = (0.5, 0.9, 0.95)
"""Fractions of the influence whose radii are reported."""


@dataclass(frozen=True)
class ReceptiveField:
    """The effective receptive field of the middle position of a stage's output.

    Attributes:
        stage: Name of the stage.
        influence: Influence of each pixel of the image on the output, (S, S), with sum 1.
        centre: Row and column of the pixel at the centre of the position.
        extent: Theoretical receptive field, if known.
    """

    stage: str
    influence: np.ndarray
    centre: tuple[int, int]
    extent: Extent | None

    def radius(self, fraction: float) -> float:
        """Return the radius in pixels of the disc that holds a fraction of the influence."""
        row, column = np.indices(self.influence.shape)
        distance = np.hypot(row - self.centre[0], column - self.centre[1]).ravel()
        order = np.argsort(distance, kind="stable")
        cumulative = np.cumsum(self.influence.ravel()[order])
        return float(distance[order][min(np.searchsorted(cumulative, fraction), len(order) - 1)])


def has_stages(model: nn.Module) -> bool:
    """Return whether a network describes its stages and returns their outputs, as timm's do."""
    return bool(_stages(model)) and hasattr(model, "forward_intermediates")


def receptive_fields(model: nn.Module, images: InputImages) -> list[ReceptiveField]:
    """Measure the effective receptive field of the middle position of the last stages' outputs.

    The influence is the mean over images of |d(output)/d(input)|, where the output is summed over
    its channels and the gradient over the channels of the image. The kernels of an involution
    depend on the image; gradients through them are included.

    Args:
        model: A timm model that returns the outputs of its stages, in evaluation mode.
        images: The images, equally weighted.

    Raises:
        InputError: The network does not describe its stages, or no finite gradient reaches the
            image.
    """
    if not has_stages(model):
        raise InputError("this network does not describe its stages, which receptive fields need")
    gradients = torch.stack([_gradients(model, batch) for batch in images.batches()]).sum(0)
    extents = theoretical_extents(model) if isinstance(model, RedNet) else {}
    return [
        _field(stage["module"], gradient, stage["reduction"], extents.get(stage["module"]))
        for stage, gradient in zip(_stages(model), gradients.cpu().numpy(), strict=True)
    ]


def _stages(model: nn.Module) -> list[dict[str, Any]]:
    return list(getattr(model, "feature_info", ()))[-STAGES:]


def _gradients(model: Any, batch: Tensor) -> Tensor:
    """Return each stage's absolute gradients, summed over images and channels: (stages, S, S).

    The output of an image depends on that image alone, so one backward pass serves the batch.
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
    """Return the radii and the theoretical width of each field in pixels, as records."""
    return [
        {
            "stage": field.stage,
            "theoretical_width": field.extent.width if field.extent else "",
            "image_size": field.influence.shape[0],
            **{f"radius_{100 * fraction:g}": field.radius(fraction) for fraction in FRACTIONS},
        }
        for field in fields
    ]


COLOUR_MAP = "magma"
DECADES = 4
"""Powers of ten that the colours span; less influence is black."""

LINE_STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")


@paper_style
def draw_receptive_fields(fields: list[ReceptiveField]) -> Figure:
    """Draw the influence of each pixel by stage, on a log scale relative to the maximum.

    Circles hold fractions of the influence; a box shows the theoretical receptive field.
    """
    figure = Figure(figsize=(PAGE_WIDTH, PAGE_WIDTH / len(fields) + 0.4), layout="constrained")
    panels = figure.subplots(1, len(fields), squeeze=False)[0]
    for axes, field in zip(panels, fields, strict=True):
        image = _draw_influence(axes, field)
        _draw_circles(axes, field)
        _draw_box(axes, field)
        axes.set_title(_title(field))
    bar = figure.colorbar(image, ax=panels, fraction=0.03, pad=0.01, aspect=28)
    bar.ax.tick_params(labelsize=NOTE_SIZE, length=2, pad=1)
    bar.set_label("influence", fontsize=6)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    return figure


def _legend() -> list[Line2D]:
    circles = [
        Line2D(
            [], [], color="black", linestyle=style, label=f"{100 * fraction:g} % of the influence"
        )
        for fraction, style in zip(FRACTIONS, LINE_STYLES, strict=True)
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
    image = axes.imshow(influence, cmap=COLOUR_MAP, norm=LogNorm(least, 1), interpolation="nearest")
    axes.set(xticks=ends, yticks=ends, autoscale_on=False)
    axes.label_outer()
    return image


def _draw_circles(axes: Axes, field: ReceptiveField) -> None:
    row, column = field.centre
    for fraction, style in zip(FRACTIONS, LINE_STYLES, strict=True):
        circle = Circle((column, row), field.radius(fraction))
        circle.set(fill=False, edgecolor="white", linestyle=style, linewidth=0.8)
        axes.add_patch(circle)


def _draw_box(axes: Axes, field: ReceptiveField) -> None:
    if field.extent is None:
        return
    row, column = (centre - field.extent.before - 0.5 for centre in field.centre)
    box = Rectangle((column, row), field.extent.width, field.extent.width)
    box.set(fill=False, edgecolor=SKY, linewidth=1.0)
    axes.add_patch(box)
