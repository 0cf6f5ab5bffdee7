"""Infer a RedNet's architecture from the names and shapes of its tensors.

Shapes do not determine everything: not the stem "small" or "involution3", a generator's `softmax`,
activations, dilation and other options without parameters, and not the kernel size and groups of
attention without `relative_position`. All these keep their defaults. If several kernel sizes fit,
each with different groups, the one closest to the paper's is chosen, else the one with the smallest
groups. `list_guesses` names what was assumed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rednet.layers.involution import count_groups
from rednet.models.variants import (
    LAYERS,
    STAGE_WIDTHS,
    STAGES,
    STEM_GROUP_CHANNELS,
    STEM_WIDTHS,
    STEMS,
)
from rednet.weights.solving import (
    GROUP_CHANNELS,
    KERNEL_SIZE,
    REDUCTION,
    Widths,
    kernel_size_from_channels,
    possible_kernel_options,
    solve_kernel_options,
    solve_reduction,
    solve_width,
)

Shapes = Mapping[str, tuple[int, ...]]

DEFAULTS: dict[str, Any] = {
    "stem": "involution3",
    "width": 1.0,
    "involution_stages": list(STAGES),
    "kernel_size": KERNEL_SIZE,
    "group_channels": GROUP_CHANNELS,
    "reduction": REDUCTION,
    "generator": "bottleneck",
}


def infer_architecture(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return the name of the RedNet that tensors belong to, and its options without defaults.

    A network whose blocks per stage have no name is a "rednet50" with the option `layers`.

    Args:
        weights: Tensors under our names, with or without classifier.

    Returns:
        A dict with the keys "name" and "options", or None if this is no RedNet.
    """
    shapes = _shapes(weights)
    if any(0 in shape for shape in shapes.values()):
        return None
    try:
        layers = [_count_blocks(shapes, stage) for stage in STAGES]
        stem, stem_widths = _read_stem(shapes)
        stage_widths = zip(STAGE_WIDTHS, (_stage_width(shapes, s) for s in STAGES), strict=True)
        options = {
            "stem": stem,
            "width": solve_width([*stem_widths, *stage_widths]),
            **_read_involutions(shapes),
        }
    except (LookupError, ValueError):
        return None
    names = [name for name, named_layers in LAYERS.items() if list(named_layers) == layers]
    if not names:
        options["layers"] = layers
    changed = {name: value for name, value in options.items() if value != DEFAULTS.get(name)}
    return {"name": names[0] if names else "rednet50", "options": changed}


def list_guesses(
    weights: Mapping[str, Tensor],
    options: Mapping[str, Any],
    given: Collection[str] = (),
) -> list[str]:
    """List the options that the tensors of an inferred RedNet leave open, as text.

    Args:
        weights: Tensors under our names.
        options: The inferred options and those known from elsewhere.
        given: Names of the options that are known from elsewhere.
    """
    stem = [] if "stem" in given else _list_stem_guesses(options.get("stem"))
    return [*stem, *_list_kernel_guesses(_shapes(weights), options, given)]


def _list_kernel_guesses(
    shapes: Shapes, options: Mapping[str, Any], given: Collection[str]
) -> list[str]:
    guesses: list[str] = []
    stages = _involution_stages(shapes)
    if not stages:
        return guesses
    blocks = _FirstBlocks(shapes, stages)
    names = ("kernel_size", "group_channels")
    kernel = " and ".join(f"{name} {options.get(name, DEFAULTS[name])}" for name in names)
    is_attention = blocks.has("conv1.query")
    knows_softmax = (
        "softmax" in options.get("generator_options", {}) or "generator_options" in given
    )
    if is_attention and not knows_softmax:
        guesses.append("attention without softmax")
    layer = "conv2.position" if is_attention else "conv2.conv"
    if any(name in given for name in names):
        return guesses
    if blocks.has(layer) and _is_ambiguous(blocks.channels, blocks.outputs(layer)):
        guesses.append(f"{kernel}, of several that fit")
    elif not blocks.has(layer) and not all(name in options for name in names):
        guesses.append(f"attention's {kernel}")
    return guesses


def _list_stem_guesses(stem: str | None) -> list[str]:
    default = DEFAULTS["stem"]
    first, *others = _stems_with(STEMS[stem or default].kernel_sizes)
    # Inferred options never contain these: the default is left out, the first of equals is taken.
    is_given = stem in (default, *others)
    return [f"stem {first} rather than {' or '.join(others)}"] if others and not is_given else []


def _is_ambiguous(channels: Sequence[int], outputs: Sequence[int]) -> bool:
    solutions = possible_kernel_options(channels, outputs)
    is_paper = (KERNEL_SIZE, GROUP_CHANNELS) in solutions
    return len({kernel_size for kernel_size, _ in solutions}) > 1 and not is_paper


def _shapes(weights: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def count_classes(weights: Mapping[str, Tensor]) -> int:
    """Return the number of outputs of a RedNet's classifier, 0 if it has none."""
    return weights["fc.bias"].numel() if "fc.bias" in weights else 0


def _count_blocks(shapes: Shapes, stage: int) -> int:
    prefix = f"layer{stage}."
    blocks = {name.split(".")[1] for name in shapes if name.startswith(prefix)}
    if blocks != {str(block) for block in range(len(blocks))}:
        raise ValueError(f"blocks of {prefix}* are not numbered from 0")
    return len(blocks)


def _read_stem(shapes: Shapes) -> tuple[str, list[Widths]]:
    """Return the stem's name and widths."""
    inner, outer = STEM_WIDTHS
    first = shapes["stem.0.conv.weight"]
    if "stem.1.conv2.conv.weight" not in shapes:
        return _stems_with((first[2], None))[0], [(outer, first[0])]
    groups = count_groups(first[0], STEM_GROUP_CHANNELS)
    kernel_size = kernel_size_from_channels(shapes["stem.1.conv2.conv.weight"][0], groups)
    name = _stems_with((first[2], kernel_size))[0]
    return name, [(inner, first[0]), (outer, shapes["stem.4.conv.weight"][0])]


def _stems_with(kernel_sizes: tuple[int, int | None]) -> list[str]:
    """Return the names of the stems with these kernel sizes, whose tensors have equal shapes."""
    return [name for name, stem in STEMS.items() if stem.kernel_sizes == kernel_sizes]


def _stage_width(shapes: Shapes, stage: int) -> int:
    return shapes[f"layer{stage}.0.conv1.weight"][0]


def _read_involutions(shapes: Shapes) -> dict[str, Any]:
    """Return the options of the bottlenecks' involutions."""
    stages = _involution_stages(shapes)
    if not stages:
        return {"involution_stages": stages}
    blocks = _FirstBlocks(shapes, stages)
    if blocks.has("conv1.query"):
        options = _read_attention(blocks)
    else:
        kernel_size, group_channels = solve_kernel_options(
            blocks.channels, blocks.outputs("conv2.conv")
        )
        options = {"kernel_size": kernel_size, "group_channels": group_channels}
        if blocks.has("conv1.conv"):
            options["reduction"] = solve_reduction(blocks.channels, blocks.outputs("conv1.conv"))
        else:
            options["generator"] = "linear"
    return {"involution_stages": stages, **options}


def _involution_stages(shapes: Shapes) -> list[int]:
    return [stage for stage in STAGES if f"layer{stage}.0.conv2.weight" not in shapes]


def _read_attention(blocks: "_FirstBlocks") -> dict[str, Any]:
    options: dict[str, Any] = {"generator": "attention"}
    channels = blocks.channels
    if blocks.has("conv2.position"):
        options["generator_options"] = {"relative_position": True}
        solution = solve_kernel_options(channels, blocks.outputs("conv2.position"))
        options["kernel_size"], options["group_channels"] = solution
    group_channels = options.get("group_channels", DEFAULTS["group_channels"])
    groups = [count_groups(width, group_channels) for width in channels]
    heads = [out // count for out, count in zip(blocks.outputs("conv1.query"), groups, strict=True)]
    per_group = [width // count for width, count in zip(channels, groups, strict=True)]
    return {**options, "reduction": solve_reduction(per_group, heads)}


@dataclass(frozen=True)
class _FirstBlocks:
    """Layers of the involutions in the first block of each stage."""

    shapes: Shapes
    stages: Sequence[int]

    def has(self, layer: str) -> bool:
        return f"layer{self.stages[0]}.0.conv2.{layer}.weight" in self.shapes

    @property
    def channels(self) -> list[int]:
        """Channels of the involutions, by stage."""
        return [_stage_width(self.shapes, stage) for stage in self.stages]

    def outputs(self, layer: str) -> list[int]:
        """Return the output channels of the layer, by stage."""
        return [self.shapes[f"layer{stage}.0.conv2.{layer}.weight"][0] for stage in self.stages]
