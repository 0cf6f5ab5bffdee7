"""The first screen of the tables: RedNet and its ablations, in the printed precision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rednet.paper.ablations import (
    BASELINE,
    GENERATOR_NOTE,
    HEADING,
    ablations,
    compare_ablation,
    compare_with_stem,
    convolution_macs,
    list_missed,
    table1_flops,
)
from rednet.paper.accuracy_tables import RELEASED_STEM, rednet_row_name
from rednet.paper.comparison import Comparison, round_as_printed
from rednet.paper.complexity_tables import compare_rednet
from rednet.paper.networks import PUBLISHED_REDNET50, Network
from rednet.paper.published import PAPER
from rednet.paper.tables import Footnotes, Table, count_reproduced

REDNET_COLUMNS = (
    *("Network", "Params: paper", "zoo", "here", "FLOPs: paper", "zoo", "here", "3x3 stem"),
    *("Top-1: paper", "zoo"),
)
ABLATION_COLUMNS = (
    *(HEADING, "Params: paper", "here", "FLOPs: paper", "here", "3x3, conv.", "Top-1: paper"),
    "experiment",
)
REDNET_NOTE = (
    'Counted with the 7x7 stem, which the published FLOPs imply. "3x3 stem" is the FLOPs of the '
    "classifiers as released, which have {fewer} fewer parameters and the zoo's top-1."
)
NOT_EVALUATED_NOTE = (
    "No checkpoint was evaluated: top-1 is as published. Give `checkpoints=FOLDER "
    "data.root=FOLDER` to evaluate the checkpoints in a folder, or `runs=FOLDER` for finished runs."
)
ABLATIONS_NOTE = (
    "The baseline's top-1 is 77.7, not the 78.4 of Table 1, so its stem or its recipe differs. "
    "With ResNet's plain stem, counted as above, {plain} of the {numbers} numbers of the ten "
    "networks are reproduced. With the released 3x3 stem and the multiply-adds of convolutions "
    'alone ("3x3, conv."), {rival} are (not {missed}). Complexity does not decide between the two. '
    "`python train.py experiment=ablation/NAME` trains the network of a row."
)

Top1 = Mapping[str, Sequence[Comparison]]
"""The published top-1 accuracies compared with ours, by row of the tables of accuracies."""


def summary_tables(accuracy_tables: Sequence[Table]) -> list[Table]:
    """Return the tables of the first screen.

    Args:
        accuracy_tables: The tables of accuracies, which decide what top-1 is reproduced.
    """
    top1: dict[str, list[Comparison]] = {}
    for item in (item for table in accuracy_tables for item in table.comparisons):
        if item.quantity == "top-1":
            top1.setdefault(item.row, []).append(item)
    is_evaluated = any(table.section == "accuracy" for table in accuracy_tables)
    return [_rednet_table(top1, is_evaluated), _ablations_table(top1)]


def _rednet_table(top1: Top1, is_evaluated: bool) -> Table:
    footnotes, rows, comparisons = Footnotes(), [], []
    for depth in PAPER:
        implied = compare_rednet(depth, PUBLISHED_REDNET50.stem)
        released = _select(compare_rednet(depth, RELEASED_STEM), "FLOPs")
        comparisons += implied
        rows.append(
            [
                f"RedNet-{depth}",
                *_published_and_ours(_select(implied, "parameters"), footnotes),
                *_published_and_ours(_select(implied, "FLOPs"), footnotes),
                _ours(released),
                *_published(top1[rednet_row_name(depth)]),
            ]
        )
    sentences = [*count_reproduced(comparisons), REDNET_NOTE.format(fewer=_fewer_parameters())]
    sentences += [] if is_evaluated else [NOT_EVALUATED_NOTE]
    notes = [" ".join(sentences), *footnotes.notes()]
    title = "RedNet on ImageNet (Table 1)"
    return Table("summary-rednet", title, REDNET_COLUMNS, rows, (), notes, "summary")


def _ablations_table(top1: Top1) -> Table:
    footnotes, rows = Footnotes(), []
    rival = {item.network: item for item in _select(_rival_comparisons(), "FLOPs")}
    for ablation in ablations():
        compared = compare_ablation(ablation)
        other = rival[str(replace(ablation.network, stem=RELEASED_STEM))]
        rows.append(
            [
                ablation.row,
                *_published_and_ours(_select(compared, "parameters"), footnotes),
                *_published_and_ours(_select(compared, "FLOPs"), footnotes),
                _ours([other]),
                *_published(top1[ablation.row]),
                ablation.experiment.removeprefix("ablation/"),
            ]
        )
    notes = [f"{_ablations_note()} {GENERATOR_NOTE}", *footnotes.notes()]
    title = "Ablations of RedNet-50 (Table 6)"
    return Table("summary-ablations", title, ABLATION_COLUMNS, rows, (), notes, "summary")


def _ablations_note() -> str:
    plain, rival = compare_with_stem(BASELINE.stem, table1_flops), _rival_comparisons()
    return ABLATIONS_NOTE.format(
        numbers=len(plain),
        plain=sum(item.is_reproduced for item in plain),
        rival=sum(item.is_reproduced for item in rival),
        missed=list_missed(rival),
    )


def _rival_comparisons() -> list[Comparison]:
    """Compare by the other explanation: the released stem, convolutions alone."""
    return compare_with_stem(RELEASED_STEM, convolution_macs)


def _fewer_parameters() -> int:
    """Return how many parameters the released stem lacks compared with the implied one."""
    implied, released = PUBLISHED_REDNET50, Network(50, RELEASED_STEM)
    return implied.complexity().parameters - released.complexity().parameters


def _select(comparisons: Sequence[Comparison], quantity: str) -> list[Comparison]:
    return [item for item in comparisons if item.quantity == quantity]


def _published_and_ours(comparisons: Sequence[Comparison], footnotes: Footnotes) -> list[str]:
    return [*_published(comparisons, footnotes), _ours(comparisons)]


def _published(comparisons: Sequence[Comparison], footnotes: Footnotes | None = None) -> list[str]:
    """Return each source's number, in bold if one of ours reproduces it."""
    sources: dict[str, list[Comparison]] = {}
    for item in comparisons:
        sources.setdefault(item.source, []).append(item)
    cells = []
    for items in sources.values():
        is_bold = any(item.is_reproduced for item in items)
        cell = f"**{items[0].published}**" if is_bold else items[0].published or "-"
        cells.append(cell + (footnotes.mark(items[0].reason) if footnotes else ""))
    return cells


def _ours(comparisons: Sequence[Comparison]) -> str:
    """Return our number, rounded like the published one with the most digits."""
    last = comparisons[-1]
    assert last.ours is not None and last.published is not None
    return str(round_as_printed(last.ours, last.published))
