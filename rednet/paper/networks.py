"""The networks of the paper's tables: their options and their complexity."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import timm
import torch
from timm.layers import get_act_layer, get_norm_layer
from torch import nn
from torch.overrides import TorchFunctionMode

import rednet.registry  # noqa: F401 (registers the names with timm)
from rednet.models.rednet import RedNet
from rednet.models.variants import LAYERS, STAGES, STEMS
from rednet.paper.comparison import Comparison, PublishedValues, to_billions, to_millions
from rednet.paper.complexity import Complexity, count_complexity_on_meta

STEM_NAMES = {name: stem.label for name, stem in STEMS.items() if stem.label is not None}
WITHOUT_EFFECT = frozenset(("recompute_kernel", "drop_rate", "drop_path_rate", "pretrained"))
"""Options that change neither a network's parameters nor its output for an image."""

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(RedNet).parameters.items()
    if name != "layers"
}
DEPTHS = {layers: int(name.removeprefix("rednet")) for name, layers in LAYERS.items()}
TIMM_RESNETS = {"resnet50": 50, "resnet101": 101, "resnet152": 152}
"""timm's ResNets that the paper has too; timm's resnet26 differs, its blocks are 2, 2, 2, 2."""


@dataclass(frozen=True)
class Network:
    """A RedNet of one of the five depths, or a ResNet as a RedNet without involution.

    All attributes but `depth` are options of `RedNet`.

    Attributes:
        depth: Number of layers, which determines the blocks of each stage.
        stem: Name of the stem.
        involution_stages: Stages with involution; the empty tuple makes a ResNet.
        kernel_size: Kernel size of the bottlenecks' involutions.
        group_channels: Channels per group of the bottlenecks' involutions.
        reduction: Channel reduction of the bottlenecks' kernel generators.
        generator: Name of the bottlenecks' kernel generator.
        generator_options: Names of the generator options that are on.
    """

    depth: int
    stem: str = "involution3"
    involution_stages: tuple[int, ...] = STAGES
    kernel_size: int = 7
    group_channels: int | str = 16
    reduction: int = 4
    generator: str = "bottleneck"
    generator_options: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The network's name in timm."""
        return f"rednet{self.depth}"

    @property
    def options(self) -> dict[str, Any]:
        """The network's options in timm that differ from their defaults."""
        given = {name: getattr(self, name) for name in OPTIONS}
        given["generator_options"] = dict.fromkeys(self.generator_options, True) or None
        return {name: value for name, value in given.items() if value != DEFAULTS[name]}

    def __str__(self) -> str:
        return " ".join((self.model, *(f"{key}={value}" for key, value in self.options.items())))

    def build(self) -> nn.Module:
        """Build the network on the meta device, without values for its parameters."""
        with torch.device("meta"), _SkipNormalInitialisation():
            return timm.create_model(self.model, **self.options)

    def complexity(self) -> Complexity:
        """Return the network's complexity for an image of 224 x 224."""
        return _cached_complexity(self)


class _SkipNormalInitialisation(TorchFunctionMode):
    """Skip `Tensor.normal_`, which is slow on the meta device although there is nothing to fill."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


OPTIONS = tuple(field.name for field in fields(Network) if field.name != "depth")
PUBLISHED_REDNET50 = Network(50, "involution7")
"""RedNet-50 with the stem that its published complexity implies."""
INVOLUTION_STEMS = sorted(
    (name for name in STEM_NAMES if STEMS[name].involution_kernel_size is not None),
    key=lambda name: name != PUBLISHED_REDNET50.stem,
)
"""Stems of the tables of whole RedNets, first the one that the published complexity implies."""


def resnet(depth: int) -> Network:
    """Return the paper's ResNet, which for depths 26 and 38 is not timm's."""
    return Network(depth, stem="conv7", involution_stages=())


def compare_complexity(
    row: str, network: Network, parameters: PublishedValues, flops: PublishedValues
) -> list[Comparison]:
    """Compare a network's complexity with the published numbers.

    Args:
        row: Name of the table row.
        network: The network.
        parameters: Published numbers of parameters in millions.
        flops: Published FLOPs in units of 10^9.
    """
    complexity, name = network.complexity(), str(network)
    ours = to_millions(complexity.parameters), to_billions(complexity.flops)
    return [
        *(
            Comparison(row, "parameters", source, text, ours[0], network=name)
            for source, text in parameters.items()
        ),
        *(
            Comparison(row, "FLOPs", source, text, ours[1], network=name)
            for source, text in flops.items()
        ),
        Comparison(row, "MACs", "", None, to_billions(complexity.macs), network=name),
    ]


def network_from_options(name: str, options: Mapping[str, Any]) -> Network | None:
    """Return the network that timm builds from a name and options, or None if it is another kind.

    Args:
        name: Name of the model in timm, with or without a tag of pretrained weights.
        options: Options of the model in any spelling: equal networks give equal results.
    """
    name = name.partition(".")[0]
    given = _without_defaults(options)
    if name in TIMM_RESNETS:
        return None if given else resnet(TIMM_RESNETS[name])
    if name not in LAYERS:
        return None
    depth = DEPTHS.get(given.pop("layers", LAYERS[name]))
    if depth is None or not given.keys() <= set(OPTIONS):
        return None
    return Network(depth, **_with_effect(given))


def _without_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a canonical spelling, without defaults and options without effect."""
    plain = {
        name: CANONICAL[name](value) if name in CANONICAL else value
        for name, value in options.items()
        if value is not None and name not in WITHOUT_EFFECT
    }
    return {name: value for name, value in plain.items() if value != DEFAULTS.get(name)}


def _with_effect(options: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the options of layers that the network does not have."""
    unused: set[str] = set()
    if options.get("involution_stages") == ():
        unused = set(OPTIONS) - {"stem", "involution_stages"}
    elif options.get("generator") == "linear":
        unused = {"reduction"}
    return {name: value for name, value in options.items() if name not in unused}


def _enabled_names(generator_options: Mapping[str, bool]) -> tuple[str, ...]:
    return tuple(sorted(name for name, is_on in generator_options.items() if is_on))


def _canonical_pooling(global_pool: str) -> str:
    """Replace timm's "fastavg", another name for "avg"."""
    return "avg" if global_pool == "fastavg" else global_pool


CANONICAL: Mapping[str, Callable[[Any], Any]] = {
    "layers": tuple,
    "involution_stages": lambda stages: tuple(sorted(set(stages))),
    "generator_options": _enabled_names,
    "norm_layer": get_norm_layer,
    "act_layer": get_act_layer,
    "global_pool": _canonical_pooling,
}
"""Convert an option's value to the spelling of `Network` and `DEFAULTS`."""


@cache
def _cached_complexity(network: Network) -> Complexity:
    return count_complexity_on_meta(network.build())
