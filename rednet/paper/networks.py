"""The networks of the paper's tables: what sets them apart, and what they cost."""

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
from rednet.models.variants import LAYERS, STAGES
from rednet.paper.comparison import Comparison, Sources, billions, millions
from rednet.paper.complexity import Complexity, measure_shadow

STEM_NAMES = {"involution3": "3x3 stem", "involution7": "7x7 stem", "conv7": "plain stem"}
WITHOUT_EFFECT = frozenset(("recompute_kernel", "drop_rate", "drop_path_rate", "pretrained"))
"""Options that change neither the weights of a network nor what it makes of an image."""

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(RedNet).parameters.items()
    if name != "layers"
}
DEPTHS = {layers: int(name.removeprefix("rednet")) for name, layers in LAYERS.items()}
TIMM_RESNETS = {"resnet50": 50, "resnet101": 101, "resnet152": 152}
"""timm's resnet26 is not among them: its blocks are 2, 2, 2, 2."""


@dataclass(frozen=True)
class Network:
    """A RedNet of one of the five depths, or ResNet as one without involution.

    Attributes:
        depth: By which the blocks of the stages are known.
        stem: As the network's option, like all that follows.
        involution_stages: None of them makes it a ResNet.
        kernel_size: Of the bottlenecks.
        group_channels: Of the bottlenecks.
        reduction: Of the bottlenecks.
        generator: Of the bottlenecks.
        generator_options: The names of those that are on.
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
        """Its name in timm."""
        return f"rednet{self.depth}"

    @property
    def options(self) -> dict[str, Any]:
        """Its options in timm, without those that have their default."""
        given = {name: getattr(self, name) for name in OPTIONS}
        given["generator_options"] = dict.fromkeys(self.generator_options, True) or None
        return {name: value for name, value in given.items() if value != DEFAULTS[name]}

    def __str__(self) -> str:
        return " ".join((self.model, *(f"{key}={value}" for key, value in self.options.items())))

    def build(self) -> nn.Module:
        """The network without weights, on torch's meta device."""
        with torch.device("meta"), _NoDrawing():
            return timm.create_model(self.model, **self.options)

    def measure(self) -> Complexity:
        """Its costs for an image of 224 x 224."""
        return _measure(self)


class _NoDrawing(TorchFunctionMode):
    """Initial weights are not drawn: shapes have none, and torch takes its time for it."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


OPTIONS = tuple(field.name for field in fields(Network) if field.name != "depth")
REFERENCE = Network(50, "involution7")
"""RedNet-50 as its complexity was published."""


def resnet(depth: int) -> Network:
    """The paper's ResNet: for 26 and 38 not timm's."""
    return Network(depth, stem="conv7", involution_stages=())


def compare_complexity(
    row: str, network: Network, parameters: Sources, flops: Sources
) -> list[Comparison]:
    """Complexity of a network beside what was published of it.

    Args:
        row: Its name in the table.
        network: The network.
        parameters: In millions.
        flops: In 10^9.
    """
    cost, name = network.measure(), str(network)
    ours = millions(cost.parameters), billions(cost.published)
    return [
        *(
            Comparison(row, "parameters", source, text, ours[0], network=name)
            for source, text in parameters.items()
        ),
        *(
            Comparison(row, "FLOPs", source, text, ours[1], network=name)
            for source, text in flops.items()
        ),
        Comparison(row, "MACs", "", None, billions(cost.macs), network=name),
    ]


def network_from_options(name: str, options: Mapping[str, Any]) -> Network | None:
    """The network that timm makes of a name and options, None where it is not of this kind.

    Args:
        name: In timm, a tag of weights behind it or not.
        options: With which timm can make it; whatever their spelling, equal networks are equal.
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
    """Options with one spelling for each value, without those that change nothing."""
    plain = {
        name: SPELLINGS[name](value) if name in SPELLINGS else value
        for name, value in options.items()
        if value is not None and name not in WITHOUT_EFFECT
    }
    return {name: value for name, value in plain.items() if value != DEFAULTS.get(name)}


def _with_effect(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those of a layer that the network does not have."""
    idle: set[str] = set()
    if options.get("involution_stages") == ():
        idle = set(OPTIONS) - {"stem", "involution_stages"}
    elif options.get("generator") == "linear":
        idle = {"reduction"}
    return {name: value for name, value in options.items() if name not in idle}


def _names_of_those_on(generator_options: Mapping[str, bool]) -> tuple[str, ...]:
    return tuple(sorted(name for name, is_on in generator_options.items() if is_on))


def _as_average(global_pool: str) -> str:
    """Undoes the other name that timm has for its "avg"."""
    return "avg" if global_pool == "fastavg" else global_pool


SPELLINGS: Mapping[str, Callable[[Any], Any]] = {
    "layers": tuple,
    "involution_stages": lambda stages: tuple(sorted(set(stages))),
    "generator_options": _names_of_those_on,
    "norm_layer": get_norm_layer,
    "act_layer": get_act_layer,
    "global_pool": _as_average,
}
"""What makes an option's value that of `Network` and `DEFAULTS`."""


@cache
def _measure(network: Network) -> Complexity:
    return measure_shadow(network.build())
