"""Build what the figures need: the network, the images, and the functions that write them."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from torch import nn

from rednet.build.inference import choose_preprocessing, open_network, restore_network
from rednet.build.training import build_schedule
from rednet.config import FigureName, VisualizationConfig
from rednet.data.image_paths import count_images, find_images
from rednet.data.not_read import NotRead
from rednet.errors import InputError
from rednet.figures.generated_kernels import find_involutions, select_involutions
from rednet.figures.input_images import InputImages, load_images
from rednet.figures.receptive_field import has_stages
from rednet.figures.writers import (
    write_envelopes,
    write_kernels,
    write_receptive_field,
    write_schedule,
    write_taps,
)
from rednet.program import say
from rednet.runtime import Runtime
from rednet.weights import list_notes

Writers = dict[FigureName, Callable[[Path], list[Path]]]
"""For each figure, a function that writes it into a folder and returns the paths."""


@dataclass(frozen=True)
class VisualizationInputs:
    """A network in evaluation mode, its input images, and the configuration that is used."""

    model: nn.Module
    images: InputImages
    config: VisualizationConfig


def plain_writers(config: VisualizationConfig, figures: Collection[FigureName]) -> Writers:
    """Return the writers of those figures that need no network."""
    schedule = build_schedule(config.schedule, config.lr, config.steps_per_epoch)
    writers: Writers = {
        "envelopes": write_envelopes,
        "schedule": partial(write_schedule, schedule),
    }
    return {figure: write for figure, write in writers.items() if figure in figures}


def build_inputs(
    config: VisualizationConfig, explicit_keys: Collection[str], runtime: Runtime
) -> VisualizationInputs:
    """Read the checkpoint and the images.

    The preprocessing stored in the checkpoint takes precedence over `config`, except for
    `explicit_keys`.

    Args:
        config: Configuration of the command.
        explicit_keys: Dotted keys that the user set.
        runtime: Device and precision of the network.

    Raises:
        InputError: Checkpoint or images cannot be read, or do not fit together.
    """
    assert config.checkpoint is not None and config.images is not None
    checkpoint = open_network(config.checkpoint, config.model)
    preprocessing, notes = choose_preprocessing(checkpoint, config.data, explicit_keys)
    total = count_images(config.images, NotRead())
    paths = list(islice(find_images(config.images, NotRead()), config.max_images))
    if not paths:
        raise InputError("images: there are none")
    model = restore_network(checkpoint, preprocessing, runtime, config.trainer)
    images = load_images(paths, preprocessing, runtime.device, config.data.max_pixels)
    if runtime.is_primary:
        cut = f", the first of {total} (max_images)" if total and total > len(images) else ""
        line = f"{checkpoint.label}; images: {len(images)}{cut}"
        lines = [line, preprocessing.describe(), *list_notes(checkpoint), *notes]
        for line in lines:
            say(line)
    data = replace(config.data, **asdict(preprocessing))
    return VisualizationInputs(model, images, replace(config, data=data))


def network_writers(inputs: VisualizationInputs, figures: Collection[FigureName]) -> Writers:
    """Return the writers of those figures that show a network.

    A figure that does not apply to the network is skipped with a line on stdout.

    Raises:
        InputError: The user asked for such a figure, or for a layer without involution.
    """
    model, images, config = inputs.model, inputs.images, inputs.config
    writers: Writers = {}
    if "kernels" in figures and _applies("kernels", bool(find_involutions(model)), config):
        writers["kernels"] = partial(
            write_kernels,
            model,
            images.first(config.max_rows),
            layers=select_involutions(model, config.layers),
            groups=config.groups,
            opacity=config.overlay,
            smooth=config.smooth,
            shared_scale=config.shared_scale,
        )
    if "taps" in figures and _applies("taps", bool(find_involutions(model)), config):
        writers["taps"] = partial(write_taps, model, images)
    if "receptive_field" in figures and _applies("receptive_field", has_stages(model), config):
        writers["receptive_field"] = partial(write_receptive_field, model, images)
    return writers


def _applies(figure: FigureName, is_possible: bool, config: VisualizationConfig) -> bool:
    if is_possible:
        return True
    what = "described stages" if figure == "receptive_field" else "involution"
    reason = f"{figure}: the network has no {what}"
    if config.figures is not None:
        raise InputError(reason)
    say(f"{reason}: skipped")
    return False
