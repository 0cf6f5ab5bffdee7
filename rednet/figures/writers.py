"""The figures as files: each as PNG and SVG, with the numbers behind it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from rednet.figures import envelopes, learning_rate
from rednet.figures.generated_kernels import Layers, choose_layers, involutions
from rednet.figures.geometry import kernel_centres
from rednet.figures.heat_maps import draw_heat_maps, kernel_sums
from rednet.figures.input_images import Images
from rednet.figures.receptive_field import draw_receptive_fields, radius_rows, receptive_fields
from rednet.figures.style import save_figure, write_rows
from rednet.figures.taps import (
    Taps,
    by_stage,
    distance_profile,
    draw_blocks,
    draw_distances,
    draw_stages,
    measure_taps,
)
from rednet.figures.taps import rows as tap_rows
from rednet.training.schedule import Schedule

Written = list[Path]


def write_envelopes(folder: Path) -> Written:
    """The published accuracies against complexity and against parameters; returns the files."""
    return [
        write_rows(envelopes.rows(), folder / "accuracy.csv"),
        *save_figure(envelopes.draw_envelope("flops"), folder, "accuracy-complexity"),
        *save_figure(envelopes.draw_envelope("parameters"), folder, "accuracy-parameters"),
    ]


def write_schedule(schedule: Schedule, folder: Path) -> Written:
    """The learning rate over a run; returns the files."""
    return [
        write_rows(learning_rate.rows(schedule), folder / "schedule.csv"),
        *save_figure(learning_rate.draw_schedule(schedule), folder, "schedule"),
    ]


def write_kernels(
    model: nn.Module,
    images: Images,
    folder: Path,
    *,
    layers: Layers,
    groups: int | None = None,
    opacity: float = 0.6,
    smooth: bool = True,
) -> Written:
    """Heat maps of the generated kernels, a figure for each layer, and all their sums.

    `centres` beside the sums are the pixels, down and across, that the kernels are generated from.

    Args:
        model: In evaluation mode.
        images: A row each.
        folder: Where the files go.
        layers: As `choose_layers` gives them.
        groups: How many of a layer's groups are drawn, the first ones; all if None.
        opacity: Of the maps over the gray image.
        smooth: Whether the maps are interpolated between positions.

    Returns:
        The files.

    Raises:
        InputError: The network has diverged.
    """
    written = []
    centres = kernel_centres(model, layers, images.inputs.shape[-1])
    for name, sums in kernel_sums(model, images, layers).items():
        shown = sums[:, :groups]
        counted = f"groups 1 to {shown.shape[1]} of {sums.shape[1]}"
        title = f"{name}: sums of {layers[name].window.area} weights, {counted}"
        figure = draw_heat_maps(shown, centres[name], images, title, opacity=opacity, smooth=smooth)
        numbers = folder / f"kernels-{name}.npz"
        names = np.array(images.names)
        np.savez_compressed(numbers, sums=sums, images=names, centres=centres[name])
        written += [numbers, *save_figure(figure, folder, f"kernels-{name}")]
    return written


def write_taps(model: nn.Module, images: Images, folder: Path) -> Written:
    """What each tap weighs on average, by layer, by stage and by distance; returns the files.

    Raises:
        InputError: The network has no involution, or has diverged.
    """
    taps = measure_taps(model, images, choose_layers(model, involutions(model)))
    stages = by_stage(taps)
    return [
        write_rows([*tap_rows(taps), *tap_rows(stages)], folder / "taps.csv"),
        write_rows(_distances(stages), folder / "taps-distance.csv"),
        *save_figure(draw_stages(stages), folder, "taps"),
        *save_figure(draw_distances(stages), folder, "taps-distance"),
        *save_figure(draw_blocks(taps, "mean"), folder, "taps-blocks-mean"),
        *save_figure(draw_blocks(taps, "mean_absolute"), folder, "taps-blocks-absolute"),
    ]


def _distances(stages: Mapping[str, Taps]) -> list[dict[str, str | float]]:
    return [
        {"stage": stage, **point}
        for stage, taps in stages.items()
        for point in distance_profile(taps)
    ]


def write_receptive_field(model: nn.Module, images: Images, folder: Path) -> Written:
    """The effective receptive fields of the stages; returns the files.

    Raises:
        InputError: The network does not tell its stages, or has diverged.
    """
    fields = receptive_fields(model, images)
    numbers = folder / "receptive-field.npz"
    influences = np.stack([field.influence for field in fields]).astype(np.float32)
    stages = np.array([field.stage for field in fields])
    np.savez_compressed(numbers, stages=stages, influences=influences)
    return [
        numbers,
        write_rows(radius_rows(fields), folder / "receptive-field.csv"),
        *save_figure(draw_receptive_fields(fields), folder, "receptive-field"),
    ]
