"""Write each figure as PNG and SVG, together with the numbers behind it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from rednet.figures.envelopes import draw_envelope, published_rows
from rednet.figures.generated_kernels import (
    InvolutionLayers,
    find_involutions,
    select_involutions,
)
from rednet.figures.geometry import kernel_centres
from rednet.figures.heat_maps import draw_heat_maps, heat_map_title, kernel_sums
from rednet.figures.input_images import InputImages
from rednet.figures.learning_rate import draw_schedule, schedule_rows
from rednet.figures.receptive_field import draw_receptive_fields, radius_rows, receptive_fields
from rednet.figures.style import save_figure, write_rows
from rednet.figures.taps import (
    TapWeights,
    by_stage,
    distance_profile,
    draw_blocks,
    draw_distances,
    draw_stages,
    measure_taps,
    tap_rows,
)
from rednet.training.schedule import Schedule


def write_envelopes(folder: Path) -> list[Path]:
    """Write the published accuracies against complexity and parameters; return the files."""
    return [
        write_rows(published_rows(), folder / "accuracy.csv"),
        *save_figure(draw_envelope("flops"), folder, "accuracy-complexity"),
        *save_figure(draw_envelope("parameters"), folder, "accuracy-parameters"),
    ]


def write_schedule(schedule: Schedule, folder: Path) -> list[Path]:
    """Write the learning rate over a run; return the files."""
    return [
        write_rows(schedule_rows(schedule), folder / "schedule.csv"),
        *save_figure(draw_schedule(schedule), folder, "schedule"),
    ]


def write_kernels(
    model: nn.Module,
    images: InputImages,
    folder: Path,
    *,
    layers: InvolutionLayers,
    groups: int | None = None,
    opacity: float = 1.0,
    smooth: bool = True,
    shared_scale: bool = False,
) -> list[Path]:
    """Write heat maps of the generated kernels, one figure per layer, and the sums behind them.

    Each layer's `.npz` file holds `sums` of all groups, the names of the `images`, and `centres`,
    the pixel rows and columns that the kernels are generated from.

    Args:
        model: The network, in evaluation mode.
        images: The images, one row each.
        folder: Folder for the files.
        layers: The involutions to draw.
        groups: Number of groups to draw, or None for all.
        opacity: Opacity of the maps over the gray images.
        smooth: Whether to interpolate the maps between positions.
        shared_scale: Whether all maps of a layer share one colour scale.

    Returns:
        The files.

    Raises:
        InputError: A kernel is not finite.
    """
    written = []
    centres = kernel_centres(model, layers, images.inputs.shape[-1])
    for name, sums in kernel_sums(model, images, layers).items():
        maps = sums[:, :groups]
        area, groups_drawn = layers[name].window.area, maps.shape[1]
        title = heat_map_title(name, area, groups_drawn, sums.shape[1])
        figure = draw_heat_maps(
            maps,
            centres[name],
            images,
            title,
            opacity=opacity,
            smooth=smooth,
            shared_scale=shared_scale,
        )
        numbers = folder / f"kernels-{name}.npz"
        names = np.array(images.names)
        np.savez_compressed(numbers, sums=sums, images=names, centres=centres[name])
        written += [numbers, *save_figure(figure, folder, f"kernels-{name}")]
    return written


def write_taps(model: nn.Module, images: InputImages, folder: Path) -> list[Path]:
    """Write the mean weight of each tap by layer, stage and distance; return the files.

    Raises:
        InputError: The network has no involution, or a kernel is not finite.
    """
    taps = measure_taps(model, images, select_involutions(model, find_involutions(model)))
    stages = by_stage(taps)
    return [
        write_rows([*tap_rows(taps), *tap_rows(stages)], folder / "taps.csv"),
        write_rows(_distance_rows(stages), folder / "taps-distance.csv"),
        *save_figure(draw_stages(stages), folder, "taps"),
        *save_figure(draw_distances(stages), folder, "taps-distance"),
        *save_figure(draw_blocks(taps, "mean"), folder, "taps-blocks-mean"),
        *save_figure(draw_blocks(taps, "mean_absolute"), folder, "taps-blocks-absolute"),
    ]


def _distance_rows(stages: Mapping[str, TapWeights]) -> list[dict[str, str | float]]:
    return [
        {"stage": stage, **point}
        for stage, taps in stages.items()
        for point in distance_profile(taps)
    ]


def write_receptive_field(model: nn.Module, images: InputImages, folder: Path) -> list[Path]:
    """Write the effective receptive fields of the stages; return the files.

    Raises:
        InputError: The network does not describe its stages, or has no finite gradient.
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
