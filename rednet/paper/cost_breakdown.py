"""The complexity of RedNet-50 by part: its involutions, kinds of function, and stages."""

from dataclasses import dataclass
from decimal import Decimal

from torch import nn

from rednet.layers import Involution2d
from rednet.paper.comparison import Comparison, format_number, to_billions
from rednet.paper.complexity import Complexity
from rednet.paper.networks import PUBLISHED_REDNET50, resnet
from rednet.paper.tables import Table

OPERATOR_COLUMNS = (
    *("First layer", "layers", "C", "K", "G", "r", "stride", "output"),
    *("weights: formula", "counted", "multiply-adds: formula", "counted"),
)
FORMULAS = (
    "Weights: (C*C + K*K*G*C) / r. Multiply-adds: HW * (C*C + K*K*G*C) / r + HW * K*K*C for HW "
    "output pixels. Neither includes normalisation or biases."
)
ADDING_UP = "The kinds of function add up to the last row; so do the places in the network."
PLACES = {"maxpool": "max pooling", "global_pool": "global pooling", "fc": "classifier"}


def operator_weights(channels: int, kernel_size: int, groups: int, reduction: int) -> int:
    """Return the paper's (C*C + K*K*G*C) / r: an involution's weights, without norm and biases."""
    return (channels**2 + kernel_size**2 * groups * channels) // reduction


def operator_macs(channels: int, kernel_size: int, groups: int, reduction: int, pixels: int) -> int:
    """Return the paper's HW*(C*C + K*K*G*C) / r + HW*K*K*C: multiply-adds for HW output pixels."""
    generation = operator_weights(channels, kernel_size, groups, reduction)
    return pixels * (generation + kernel_size**2 * channels)


def operator_table() -> Table:
    """Compare the paper's formulas with the counter for each involution of RedNet-50."""
    complexity = PUBLISHED_REDNET50.complexity()
    operators = [
        _compare_operator(name, layer, complexity.within(name))
        for name, layer in PUBLISHED_REDNET50.build().named_modules()
        if isinstance(layer, Involution2d)
    ]
    equal_layers: dict[tuple[str, ...], list[str]] = {}
    for operator in operators:
        equal_layers.setdefault(operator.cells, []).append(operator.name)
    title = "Cost of RedNet-50's involutions: the paper's formulas against the counter"
    rows = [[names[0], str(len(names)), *cells] for cells, names in equal_layers.items()]
    comparisons = [item for operator in operators for item in operator.comparisons]
    return Table("operators", title, OPERATOR_COLUMNS, rows, comparisons, (FORMULAS,))


@dataclass(frozen=True)
class _Operator:
    """An involution: its name, its shape as table cells, and formulas compared with counts."""

    name: str
    shape: tuple[str, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        numbers = ((str(item.published), str(item.ours)) for item in self.comparisons)
        return (*self.shape, *(text for pair in numbers for text in pair))


def _compare_operator(name: str, layer: Involution2d, complexity: Complexity) -> _Operator:
    hyperparameters = _hyperparameters(layer)
    height, width = complexity.operations[-1].output[2:]
    weights = sum(n for key, n in complexity.weights.items() if key.endswith(".conv.weight"))
    formulas = {
        "weights": (operator_weights(*hyperparameters), weights),
        "multiply-adds": (operator_macs(*hyperparameters, height * width), complexity.macs),
    }
    comparisons = (
        Comparison(name, quantity, "formula", str(formula), Decimal(counted))
        for quantity, (formula, counted) in formulas.items()
    )
    shape = (*map(str, hyperparameters), str(layer.window.stride), f"{height}x{width}")
    return _Operator(name, shape, tuple(comparisons))


def _hyperparameters(layer: Involution2d) -> tuple[int, int, int, int]:
    """Return C, K, G and r of an involution with a bottleneck generator."""
    narrow = layer.conv1.get_submodule("conv")
    assert isinstance(narrow, nn.Conv2d)
    reduction = layer.channels // narrow.out_channels
    return layer.channels, layer.window.kernel_size, layer.groups, reduction


def parts_table() -> Table:
    """Break RedNet-50 and ResNet-50 down by kind of function and by place in the network."""
    networks = {"RedNet-50": PUBLISHED_REDNET50, "ResNet-50": resnet(50)}
    complexities = {name: network.complexity() for name, network in networks.items()}
    parts = {name: _parts(complexity) for name, complexity in complexities.items()}
    rows, comparisons = [], []
    for part in parts["RedNet-50"]:
        found = [item for name in networks for item in _compare_part(name, part, parts[name])]
        rows.append([part, *(format_number(item.ours) for item in found)])
        comparisons += found
    columns = [f"{name}: {quantity} (G)" for name in networks for quantity in ("MACs", "FLOPs")]
    notes = [ADDING_UP, *(_uncounted_note(name, item) for name, item in complexities.items())]
    title = "Complexity of RedNet-50 (7x7 stem) and ResNet-50 by kind of function and by place"
    return Table("parts", title, ["Part", *columns], rows, comparisons, notes)


Sums = dict[str, tuple[int, int]]
"""(macs, flops) of each part."""


def _parts(complexity: Complexity) -> Sums:
    places = {
        PLACES.get(name, name.replace("layer", "stage ")): values
        for name, values in complexity.by_child().items()
    }
    total = complexity.macs, complexity.flops
    return {**complexity.by_kind(), **places, "all": total}


def _compare_part(network: str, part: str, sums: Sums) -> list[Comparison]:
    row = f"{network}, {part}"
    macs, flops = sums.get(part, (0, 0))
    return [
        Comparison(row, "MACs", "", None, to_billions(macs)),
        Comparison(row, "FLOPs", "", None, to_billions(flops)),
    ]


def _uncounted_note(network: str, complexity: Complexity) -> str:
    calls = ", ".join(f"{count} x {name}" for name, count in complexity.uncounted.items())
    return f"Computed in {network} but not counted: {calls}."
