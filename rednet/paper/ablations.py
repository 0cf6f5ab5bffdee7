"""The paper's three ablation tables, without their accuracies, and the stem that they imply."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rednet.paper.comparison import Comparison, billions, millions, number
from rednet.paper.complexity import Complexity
from rednet.paper.networks import STEM_NAMES, Network, compare_complexity
from rednet.paper.published import (
    ABLATION_GENERATOR,
    ABLATION_GROUP_CHANNELS,
    ABLATION_KERNEL_SIZE,
    Figures,
)
from rednet.paper.tables import Table, comparison_table, explain

BASELINE = Network(50, "conv7")
HEADING = "RedNet-50 with"
STEM_NOTE = (
    "Of ten different networks each. The complexity alone does not decide it: the plain stem needs "
    "no counter but Table 1's, the 3x3 involution stem needs one that leaves out the involution. "
    "The ablations' RedNet-50 is published with 77.7 %, that of Table 1 with 78.4 %, so they "
    "differ in something, the stem or the recipe."
)
GENERATOR_NOTE = "s is batch normalisation and ReLU."
REASONS = {
    ("kernel size 5", "FLOPs"): (
        "No stem gives 2.5 by this counter: 2.58 with the 3x3 involution, 2.60 with the 7x7 one."
    ),
    ("group channels 1", "parameters"): (
        "An involution stem has 30.156 and would round to 30.2, but its FLOPs are 5.11 or more, "
        "printed 5.0."
    ),
}


@dataclass(frozen=True)
class Ablation:
    """A row of an ablation table.

    Attributes:
        table: Which of the three.
        row: Its name.
        network: With the plain stem.
        figures: Published.
        experiment: That trains it.
    """

    table: str
    row: str
    network: Network
    figures: Figures
    experiment: str


def ablations() -> Iterator[Ablation]:
    """All rows of the three tables; that of the baseline is in each of them."""
    for size, figures in ABLATION_KERNEL_SIZE.items():
        network = replace(BASELINE, kernel_size=size)
        yield _row("kernel size", str(size), network, figures, f"kernel{size}")
    for channels, figures in ABLATION_GROUP_CHANNELS.items():
        network = replace(BASELINE, group_channels=channels)
        name = "group_layer" if channels == "layer" else f"group{channels}"
        label = "C" if channels == "layer" else str(channels)
        yield _row("group channels", label, network, figures, name)
    for reduction, figures in ABLATION_GENERATOR.items():
        if reduction is None:
            yield _row("generator", "W", replace(BASELINE, generator="linear"), figures, "linear")
        else:
            network = replace(BASELINE, reduction=reduction)
            label = f"W1 s W0, r={reduction}"
            yield _row("generator", label, network, figures, f"reduction{reduction}")


def _row(table: str, label: str, network: Network, figures: Figures, name: str) -> Ablation:
    name = "baseline" if network == BASELINE else name
    return Ablation(table, f"{table} {label}", network, figures, f"ablation/{name}")


def ablation_table(name: str) -> Table:
    """One of the three: "kernel size", "group channels" or "generator"."""
    chosen = [ablation for ablation in ablations() if ablation.table == name]
    rows = [explain(_compare(ablation), REASONS) for ablation in chosen]
    return comparison_table(
        f"ablation-{name.replace(' ', '-')}",
        f"Ablation of the {name}, RedNet-50 with ResNet's plain stem",
        HEADING,
        rows,
        extra=[_with_other_stem(ablation) for ablation in chosen],
        notes=[GENERATOR_NOTE] if name == "generator" else [],
    )


def _compare(ablation: Ablation) -> list[Comparison]:
    figures = ablation.figures
    parameters, flops = {"paper": figures.parameters}, {"paper": figures.flops}
    return compare_complexity(ablation.row, ablation.network, parameters, flops)


def _with_other_stem(ablation: Ablation) -> dict[str, str]:
    """What the released stem would give, and the experiment."""
    cost = replace(ablation.network, stem="involution3").measure()
    return {
        "3x3 stem: parameters (M)": number(millions(cost.parameters)),
        "FLOPs (G)": number(billions(cost.published)),
        "convolutions' MACs (G)": number(billions(_convolutions(cost))),
        "experiment": ablation.experiment,
    }


def _published(cost: Complexity) -> int:
    return cost.published


def _convolutions(cost: Complexity) -> int:
    macs, _ = cost.by_kind()["convolution"]
    return macs


def stem_table() -> Table:
    """Which stem and which counter reproduce how many of the figures printed with the ablations."""
    counters: Mapping[str, Callable[[Complexity], int]] = {
        "as in Table 1": _published,
        "MACs of convolutions alone": _convolutions,
    }
    lines, figures = [], []
    for stem, name in STEM_NAMES.items():
        for counting, count in counters.items():
            found = _stem_figures(stem, count)
            lines.append([name, counting, *_hits(found), _misses(found)])
            figures += [replace(item, row=f"{name}, {counting}: {item.row}") for item in found]
    return Table(
        "ablation-stems",
        "Which stem the ablations had, by their complexity",
        ("Stem", "FLOPs counted", "parameters reproduced", "FLOPs reproduced", "not reproduced"),
        lines,
        figures,
        (STEM_NOTE,),
    )


def _stem_figures(stem: str, count: Callable[[Complexity], int]) -> list[Comparison]:
    figures = []
    for ablation in {item.experiment: item for item in ablations()}.values():
        network = replace(ablation.network, stem=stem)
        cost = network.measure()
        pairs = {
            "parameters": (ablation.figures.parameters, millions(cost.parameters)),
            "FLOPs": (ablation.figures.flops, billions(count(cost))),
        }
        figures += [
            Comparison(ablation.row, quantity, "paper", text, ours, network=str(network))
            for quantity, (text, ours) in pairs.items()
        ]
    return figures


def _hits(figures: Sequence[Comparison]) -> list[str]:
    return [
        str(sum(item.is_reproduced for item in figures if item.quantity == quantity))
        for quantity in ("parameters", "FLOPs")
    ]


def _misses(figures: Sequence[Comparison]) -> str:
    missed = [item for item in figures if not item.is_reproduced]
    if len(missed) > 3:
        return f"{len(missed)} figures"
    told = [f"{item.row}: {number(item.ours, 3)} for {item.published}" for item in missed]
    return "; ".join(told) or "none"
