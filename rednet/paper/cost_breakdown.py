"""Where the complexity of RedNet-50 lies: its involutions, kinds of function, and stages."""

from dataclasses import dataclass
from decimal import Decimal

from torch import nn

from rednet.layers import Involution2d
from rednet.paper.comparison import Comparison, billions, number
from rednet.paper.complexity import Complexity
from rednet.paper.networks import REFERENCE, resnet
from rednet.paper.tables import Table

COLUMNS = (
    *("First of such layers", "layers", "C", "K", "G", "r", "stride", "output"),
    *("weights: formula", "counted", "multiply-adds: formula", "counted"),
)
FORMULAS = (
    "Weights: (C*C + K*K*G*C) / r. Multiply-adds: HW * (C*C + K*K*G*C) / r + HW * K*K*C for HW "
    "outputs. Normalisation and biases are in neither."
)


def operator_weights(channels: int, kernel_size: int, groups: int, reduction: int) -> int:
    """The paper's (C*C + K*K*G*C) / r: weights of an involution, without norm and biases."""
    return (channels**2 + kernel_size**2 * groups * channels) // reduction


def operator_macs(channels: int, kernel_size: int, groups: int, reduction: int, pixels: int) -> int:
    """The paper's HW*(C*C + K*K*G*C) / r + HW*K*K*C: multiply-adds, of HW outputs."""
    generation = operator_weights(channels, kernel_size, groups, reduction)
    return pixels * (generation + kernel_size**2 * channels)


def operator_table() -> Table:
    """The formulas against the counter, for each involution of RedNet-50."""
    cost = REFERENCE.measure()
    found = [
        _compare_operator(name, layer, cost.within(name))
        for name, layer in REFERENCE.build().named_modules()
        if isinstance(layer, Involution2d)
    ]
    alike: dict[tuple[str, ...], list[str]] = {}
    for operator in found:
        alike.setdefault(operator.cells, []).append(operator.name)
    title = "Cost of RedNet-50's involutions: the paper's formulas and the counter"
    lines = [[names[0], str(len(names)), *cells] for cells, names in alike.items()]
    figures = [item for operator in found for item in operator.figures]
    return Table("operators", title, COLUMNS, lines, figures, (FORMULAS,))


@dataclass(frozen=True)
class _Operator:
    """An involution of the network: its name, its shape as text, formulas and counts."""

    name: str
    shape: tuple[str, ...]
    figures: tuple[Comparison, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        counts = (text for item in self.figures for text in (str(item.published), str(item.ours)))
        return (*self.shape, *counts)


def _compare_operator(name: str, layer: Involution2d, cost: Complexity) -> _Operator:
    numbers = _numbers(layer)
    height, width = cost.operations[-1].output[2:]
    weights = sum(n for key, n in cost.weights.items() if key.endswith(".conv.weight"))
    formulas = {
        "weights": (operator_weights(*numbers), weights),
        "multiply-adds": (operator_macs(*numbers, height * width), cost.macs),
    }
    figures = (
        Comparison(name, quantity, "formula", str(formula), Decimal(counted))
        for quantity, (formula, counted) in formulas.items()
    )
    shape = (*map(str, numbers), str(layer.window.stride), f"{height}x{width}")
    return _Operator(name, shape, tuple(figures))


def _numbers(layer: Involution2d) -> tuple[int, int, int, int]:
    """C, K, G and r of an involution whose kernels come from a bottleneck."""
    narrow = layer.conv1.get_submodule("conv")
    assert isinstance(narrow, nn.Conv2d)
    reduction = layer.channels // narrow.out_channels
    return layer.channels, layer.window.kernel_size, layer.groups, reduction


ADDING_UP = "The kinds of function add up to the last row, and so do the places."
PLACES = {"maxpool": "max pooling", "global_pool": "global pooling", "fc": "classifier"}


def parts_table() -> Table:
    """Multiply-adds and FLOPs by kind of function and by place."""
    costs = {"RedNet-50": REFERENCE.measure(), "ResNet-50": resnet(50).measure()}
    parts = {model: _parts(cost) for model, cost in costs.items()}
    lines, figures = [], []
    for part in parts["RedNet-50"]:
        found = [item for model in costs for item in _compare_part(model, part, parts[model])]
        lines.append([part, *(number(item.ours) for item in found)])
        figures += found
    columns = [f"{model}: {what} (G)" for model in costs for what in ("MACs", "FLOPs")]
    notes = [ADDING_UP, *(_uncounted(model, cost) for model, cost in costs.items())]
    title = "Parts of RedNet-50 (7x7 stem) and ResNet-50, by kind of function and by place"
    return Table("parts", title, ["Part", *columns], lines, figures, notes)


Sums = dict[str, tuple[int, int]]
"""(macs, published) of each part."""


def _parts(cost: Complexity) -> Sums:
    places = {
        PLACES.get(name, name.replace("layer", "stage ")): values
        for name, values in cost.by_child().items()
    }
    return {**cost.by_kind(), **places, "all": (cost.macs, cost.published)}


def _compare_part(model: str, part: str, sums: Sums) -> list[Comparison]:
    row = f"{model}, {part}"
    macs, published = sums.get(part, (0, 0))
    return [
        Comparison(row, "MACs", "", None, billions(macs)),
        Comparison(row, "FLOPs", "", None, billions(published)),
    ]


def _uncounted(model: str, cost: Complexity) -> str:
    calls = ", ".join(f"{count} x {name}" for name, count in cost.uncounted.items())
    return f"Computed in {model} but not counted: {calls}."
