"""Where RedNet-50 and ResNet-50 spend what they cost."""

from rednet.paper.comparison import Comparison, billions, number
from rednet.paper.complexity import Complexity
from rednet.paper.networks import REFERENCE, resnet
from rednet.paper.tables import Table

ADDING_UP = "The kinds of function add up to the last row, and so do the places."
PLACES = {"maxpool": "max pooling", "global_pool": "global pooling", "fc": "classifier"}


def parts_table() -> Table:
    """Multiply-adds and FLOPs by kind of function and by place."""
    costs = {"RedNet-50": REFERENCE.measure(), "ResNet-50": resnet(50).measure()}
    parts = {model: _parts(cost) for model, cost in costs.items()}
    lines, figures = [], []
    for part in parts["RedNet-50"]:
        found = [item for model in costs for item in _compare(model, part, parts[model])]
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


def _compare(model: str, part: str, sums: Sums) -> list[Comparison]:
    row = f"{model}, {part}"
    macs, published = sums.get(part, (0, 0))
    return [
        Comparison(row, "MACs", "", None, billions(macs)),
        Comparison(row, "FLOPs", "", None, billions(published)),
    ]


def _uncounted(model: str, cost: Complexity) -> str:
    calls = ", ".join(f"{count} x {name}" for name, count in cost.uncounted.items())
    return f"Computed in {model} but not counted: {calls}."
