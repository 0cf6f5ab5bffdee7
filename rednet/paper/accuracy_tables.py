"""The tables of accuracies: the published ones and those of evaluated checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rednet.paper.ablations import HEADING, ablations
from rednet.paper.accuracy import Accuracy, evaluation_record
from rednet.paper.comparison import UNPUBLISHED, Comparison, PublishedValues
from rednet.paper.networks import DEFAULTS, INVOLUTION_STEMS, STEM_NAMES, Network, resnet
from rednet.paper.published import MODEL_ZOO, PAPER, RESNET
from rednet.paper.tables import Section, Table, comparison_table

STEM_NOTE = (
    "The weights released for classification have the 3x3 stem and reach the model zoo's "
    "accuracies (78.33 % for RedNet-50 as converted by PaddleClas). The stem behind the paper's "
    "accuracies is unknown; they are shown in the same rows. The 7x7 stem has a published "
    "complexity but no published accuracy; it gets a row when a checkpoint of it is evaluated."
)
TITLES = {
    "accuracy-rednet": ("Table 1, accuracy of RedNet on ImageNet", "Network"),
    "accuracy-resnet": ("Table 1, accuracy of ResNet on ImageNet", "Network"),
    "accuracy-ablations": ("Ablations, accuracy on ImageNet", HEADING),
}
"""Title and first heading of each table, by its key."""
RELEASED_STEM: str = DEFAULTS["stem"]

Accuracies = Mapping[Network, Sequence[Accuracy]]
"""The accuracies of each evaluated network, at least one each."""
NOT_EVALUATED: Sequence[Accuracy | None] = (None,)


@dataclass(frozen=True)
class AccuracyRow:
    """One row of a table of accuracies.

    Attributes:
        row: Name of the row.
        network: The network.
        top1: Published top-1 accuracies in percent.
        top5: Published top-5 accuracies in percent.
    """

    row: str
    network: Network
    top1: PublishedValues
    top5: PublishedValues

    @property
    def is_published(self) -> bool:
        """Whether any accuracy was published; otherwise the row needs an evaluation."""
        return any((*self.top1.values(), *self.top5.values()))


def accuracy_rows() -> dict[str, list[AccuracyRow]]:
    """Return the rows of each table, by the table's key."""
    return {
        "accuracy-rednet": list(_rednet_rows()),
        "accuracy-resnet": [
            AccuracyRow(f"ResNet-{depth}", resnet(depth), {"plot": RESNET[depth].top1}, UNPUBLISHED)
            for depth in RESNET
        ],
        "accuracy-ablations": [
            AccuracyRow(item.row, item.network, {"paper": item.published.top1}, UNPUBLISHED)
            for item in ablations()
        ],
    }


def has_row(network: Network) -> bool:
    """Return whether one of the tables of accuracies has a row for a network."""
    return any(network == row.network for rows in accuracy_rows().values() for row in rows)


def accuracy_tables(accuracies: Accuracies) -> Iterator[Table]:
    """Yield the three tables; one without an evaluated checkpoint is for the files only.

    Args:
        accuracies: Accuracies of evaluated checkpoints; each one gets a row.
    """
    for key, rows in accuracy_rows().items():
        title, heading = TITLES[key]
        yield _table(key, title, heading, rows, accuracies)


def _rednet_rows() -> Iterator[AccuracyRow]:
    for depth in PAPER:
        paper, zoo = PAPER[depth], MODEL_ZOO[depth]
        top1, top5 = {"paper": paper.top1, "model zoo": zoo.top1}, {"model zoo": zoo.top5}
        yield _rednet_row(depth, RELEASED_STEM, top1, top5)
    for stem in INVOLUTION_STEMS:
        if stem != RELEASED_STEM:
            for depth in PAPER:
                top1, top5 = {"paper": None, "model zoo": None}, {"model zoo": None}
                yield _rednet_row(depth, stem, top1, top5)


def _rednet_row(depth: int, stem: str, top1: PublishedValues, top5: PublishedValues) -> AccuracyRow:
    return AccuracyRow(rednet_row_name(depth, stem), Network(depth, stem), top1, top5)


def rednet_row_name(depth: int, stem: str = RELEASED_STEM) -> str:
    """Return the name of a RedNet's row, which is that of the published accuracies by default."""
    return f"RedNet-{depth}, {STEM_NAMES[stem]}"


def _table(
    key: str, title: str, heading: str, rows: Sequence[AccuracyRow], accuracies: Accuracies
) -> Table:
    pairs = [
        (row, accuracy)
        for row in rows
        for accuracy in accuracies.get(row.network, NOT_EVALUATED)
        if accuracy or row.is_published
    ]
    comparisons = [_compare(row, accuracy) for row, accuracy in pairs]
    has_runs = any(accuracy.seeds for _, accuracy in pairs if accuracy)
    extra = [_evaluation_cells(accuracy, has_runs=has_runs) for _, accuracy in pairs]
    notes = [STEM_NOTE] if key == "accuracy-rednet" else []
    section: Section = "accuracy" if any(accuracy for _, accuracy in pairs) else "files"
    return comparison_table(
        key, title, heading, comparisons, digits=2, extra=extra, notes=notes, section=section
    )


def _evaluation_cells(accuracy: Accuracy | None, *, has_runs: bool) -> dict[str, str]:
    record = evaluation_record(accuracy)
    spread = accuracy.spread if accuracy else None
    record["spread of top-1"] = None if spread is None else f"{spread[0]:.2f}"
    of_runs = ("seeds", "spread of top-1") if has_runs else ()
    names = (*of_runs, "images", "interpolation", "precision", "checkpoint")
    return {name: "-" if record[name] is None else str(record[name]) for name in names}


def _compare(row: AccuracyRow, accuracy: Accuracy | None) -> list[Comparison]:
    ours = (accuracy.top1, accuracy.top5) if accuracy else (None, None)
    published = {"top-1": row.top1, "top-5": row.top5}
    return [
        Comparison(
            row.row,
            quantity,
            source,
            text,
            None if value is None else Decimal(str(value)),
            accuracy.notes if accuracy else "",
            str(row.network),
            accuracy,
        )
        for value, (quantity, values) in zip(ours, published.items(), strict=True)
        for source, text in values.items()
    ]
