"""Which RedNet tensors are of, by their names and shapes.

They do not tell the stem "small" from "involution3", a generator's `softmax`, activations, dilation
or what goes without parameters; without `relative_position` they do not tell the window of
attention either. All that is left at its default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd, isqrt
from typing import Any

from torch import Tensor

from rednet.layers.involution import count_groups
from rednet.models.plan import STAGE_WIDTHS, STAGES, WIDTH_DIVISOR, scale
from rednet.models.rednet import STEM_WIDTHS
from rednet.models.registry import LAYERS

Shapes = Mapping[str, tuple[int, ...]]
Widths = tuple[int, int]
"""Channels in a network of width 1, and here."""

DEFAULTS: dict[str, Any] = {
    "stem": "involution3",
    "width": 1.0,
    "involution_stages": list(STAGES),
    "kernel_size": 7,
    "group_channels": 16,
    "reduction": 4,
    "generator": "bottleneck",
}
WIDTH_DENOMINATORS = (1, 2, 4, 8, 10, 20, 32, 64, 100, 1000)
STEM_GROUP_CHANNELS = 16


def recognise(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Name and options of the RedNet that tensors are of, options at their defaults left out.

    A network of other depths than the named ones is a "rednet50" with the option `layers`.

    Args:
        weights: Under our names, with or without classifier.

    Returns:
        The keys "name" and "options", or None where the shapes contradict each other.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    try:
        layers = [_count_blocks(shapes, stage) for stage in STAGES]
        stem, stem_widths = _read_stem(shapes)
        stage_widths = zip(STAGE_WIDTHS, (_stage_width(shapes, s) for s in STAGES), strict=True)
        options = {
            "stem": stem,
            "width": _solve_width([*stem_widths, *stage_widths]),
            **_read_involutions(shapes),
        }
    except (LookupError, ValueError):
        return None
    names = [name for name, named_layers in LAYERS.items() if list(named_layers) == layers]
    if not names:
        options["layers"] = layers
    changed = {name: value for name, value in options.items() if value != DEFAULTS.get(name)}
    return {"name": names[0] if names else "rednet50", "options": changed}


def count_classes(weights: Mapping[str, Tensor]) -> int:
    """Outputs of a RedNet's classifier, 0 if it has none."""
    return weights["fc.bias"].numel() if "fc.bias" in weights else 0


def _count_blocks(shapes: Shapes, stage: int) -> int:
    prefix = f"layer{stage}."
    blocks = {name.split(".")[1] for name in shapes if name.startswith(prefix)}
    if blocks != {str(block) for block in range(len(blocks))}:
        raise ValueError(f"{prefix}* are not counted from 0")
    return len(blocks)


def _read_stem(shapes: Shapes) -> tuple[str, list[Widths]]:
    """The stem's name and widths."""
    inner, outer = STEM_WIDTHS
    first = shapes["stem.0.conv.weight"]
    if "stem.1.conv2.conv.weight" not in shapes:
        return {7: "conv7"}[first[2]], [(outer, first[0])]
    groups = count_groups(first[0], STEM_GROUP_CHANNELS)
    kernel_size = _odd_root(shapes["stem.1.conv2.conv.weight"][0], groups)
    name = {3: "involution3", 7: "involution7"}[kernel_size]
    return name, [(inner, first[0]), (outer, shapes["stem.4.conv.weight"][0])]


def _stage_width(shapes: Shapes, stage: int) -> int:
    return shapes[f"layer{stage}.0.conv1.weight"][0]


def _solve_width(widths: Sequence[Widths]) -> float:
    """The roundest multiplier that gives these widths, the smallest of equally round ones.

    Raises:
        LookupError: There is none.
    """
    nominal, actual = max(widths)
    for denominator in WIDTH_DENOMINATORS:
        lowest = (actual - WIDTH_DIVISOR) * denominator // nominal
        highest = (actual + WIDTH_DIVISOR) * denominator // nominal
        for numerator in range(max(1, lowest), highest + 1):
            width = numerator / denominator
            if all(scale(channels, width) == found for channels, found in widths):
                return width
    raise LookupError("no multiplier gives these widths")


def _read_involutions(shapes: Shapes) -> dict[str, Any]:
    """Where the involutions are, their generator and its numbers."""
    stages = [stage for stage in STAGES if f"layer{stage}.0.conv2.weight" not in shapes]
    if not stages:
        return {"involution_stages": stages}
    channels = [_stage_width(shapes, stage) for stage in stages]
    parts = _Parts(shapes, stages)
    if parts.has("conv1.query"):
        options = _read_attention(parts, channels)
    else:
        kernel_size, group_channels = _solve_window(channels, parts.outputs("conv2.conv"))
        options = {"kernel_size": kernel_size, "group_channels": group_channels}
        if parts.has("conv1.conv"):
            options["reduction"] = _solve_reduction(channels, parts.outputs("conv1.conv"))
        else:
            options["generator"] = "linear"
    return {"involution_stages": stages, **options}


def _read_attention(parts: "_Parts", channels: Sequence[int]) -> dict[str, Any]:
    options: dict[str, Any] = {"generator": "attention"}
    if parts.has("conv2.position"):
        options["generator_options"] = {"relative_position": True}
        window = _solve_window(channels, parts.outputs("conv2.position"))
        options["kernel_size"], options["group_channels"] = window
    group_channels = options.get("group_channels", DEFAULTS["group_channels"])
    groups = [count_groups(width, group_channels) for width in channels]
    heads = [out // count for out, count in zip(parts.outputs("conv1.query"), groups, strict=True)]
    per_group = [width // count for width, count in zip(channels, groups, strict=True)]
    return {**options, "reduction": _solve_reduction(per_group, heads)}


@dataclass(frozen=True)
class _Parts:
    """Layers of the involutions, one of the same name in the first block of each stage."""

    shapes: Shapes
    stages: Sequence[int]

    def has(self, layer: str) -> bool:
        return f"layer{self.stages[0]}.0.conv2.{layer}.weight" in self.shapes

    def outputs(self, layer: str) -> list[int]:
        """How many channels the layer gives, by stage."""
        return [self.shapes[f"layer{stage}.0.conv2.{layer}.weight"][0] for stage in self.stages]


def _solve_window(channels: Sequence[int], outputs: Sequence[int]) -> tuple[int, int | str]:
    """K and the channels of a group, which give G*K*K outputs in each stage.

    Of several solutions it is the one nearest to the paper's K = 7 and groups of 16.

    Raises:
        LookupError: There is none.
    """
    shared = gcd(*channels)
    divisors = [number for number in range(1, shared + 1) if shared % number == 0]
    candidates: list[int | str] = ["layer", *divisors]
    solutions = []
    for group_channels in candidates:
        groups = [count_groups(width, group_channels) for width in channels]
        sizes = {_odd_root(out, count) for out, count in zip(outputs, groups, strict=True)}
        if len(sizes) == 1 and (kernel_size := sizes.pop()):
            solutions.append((kernel_size, group_channels))
    if not solutions:
        raise LookupError("no window and groups give these outputs")
    default = DEFAULTS["kernel_size"], DEFAULTS["group_channels"]
    return min(solutions, key=lambda found: (found[0] != default[0], found[1] != default[1]))


def _odd_root(outputs: int, groups: int) -> int:
    """The odd K of which `outputs` are K*K in each group, 0 if there is none."""
    root = isqrt(outputs // groups)
    return root if root % 2 and root**2 * groups == outputs else 0


def _solve_reduction(channels: Sequence[int], narrow: Sequence[int]) -> int:
    """The reduction that narrows channels like this: the paper's, a power of 2, or the smallest.

    Raises:
        LookupError: There is none.
    """
    every = range(1, max(channels) + 1)
    powers = [reduction for reduction in every if reduction.bit_count() == 1]
    for reduction in (DEFAULTS["reduction"], *powers, *every):
        if [max(1, width // reduction) for width in channels] == list(narrow):
            return reduction
    raise LookupError("no reduction gives these widths")
