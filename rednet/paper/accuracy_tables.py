"""Accuracies: the published ones and, where checkpoints were evaluated, ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rednet.paper.ablations import HEADING, ablations
from rednet.paper.accuracy import Accuracy, record_evaluation
from rednet.paper.comparison import UNPUBLISHED, Comparison, Sources
from rednet.paper.networks import STEM_NAMES, Network, resnet
from rednet.paper.published import MODEL_ZOO, PAPER, RESNET
from rednet.paper.tables import Table, comparison_table

PUBLISHED_ONLY = (
    "Nothing was evaluated: these are the published accuracies alone. "
    "`checkpoints=FOLDER data.root=FOLDER` evaluates what lies there."
)
STEM_NOTE = (
    "The weights released for classification, which reach the model zoo's accuracies (78.33 % for "
    "RedNet-50 as PaddleClas converted it), have the 3x3 stem. Of which stem the paper's own "
    "accuracies are is not known; they stand in the same rows. Of the 7x7 stem, whose complexity "
    "was published, no accuracy is: it has a row where a checkpoint of it was evaluated."
)
TITLES = {
    "accuracy-rednet": ("Table 1, accuracy of RedNet on ImageNet", "Network"),
    "accuracy-resnet": ("Table 1, accuracy of ResNet on ImageNet", "Network"),
    "accuracy-ablations": ("Ablations, accuracy on ImageNet", HEADING),
}


Accuracies = Mapping[Network, Sequence[Accuracy]]
"""Of all checkpoints of each network, at least one."""
UNKNOWN: Sequence[Accuracy | None] = (None,)


@dataclass(frozen=True)
class Subject:
    """A network whose accuracy may be known.

    Attributes:
        row: Its name in the table.
        network: Itself.
        top1: Published, in percent.
        top5: Published, in percent.
    """

    row: str
    network: Network
    top1: Sources
    top5: Sources

    @property
    def is_published(self) -> bool:
        """Whether any accuracy is; else it has a row only where one was measured."""
        return any((*self.top1.values(), *self.top5.values()))


def subjects() -> dict[str, list[Subject]]:
    """The rows of each table of accuracies, by its key."""
    return {
        "accuracy-rednet": list(_rednets()),
        "accuracy-resnet": [
            Subject(f"ResNet-{depth}", resnet(depth), {"plot": RESNET[depth].top1}, UNPUBLISHED)
            for depth in RESNET
        ],
        "accuracy-ablations": [
            Subject(item.row, item.network, {"paper": item.figures.top1}, UNPUBLISHED)
            for item in ablations()
        ],
    }


def has_row(network: Network) -> bool:
    """Whether one of the tables of accuracies has a row for a network."""
    return any(network == subject.network for rows in subjects().values() for subject in rows)


def accuracy_tables(accuracies: Accuracies) -> Iterator[Table]:
    """The three tables of accuracies.

    Args:
        accuracies: Of the checkpoints of each network; a row is repeated for each of several.
    """
    for key, members in subjects().items():
        title, heading = TITLES[key]
        yield _table(key, title, heading, members, accuracies)


def _rednets() -> Iterator[Subject]:
    for depth in PAPER:
        paper, zoo = PAPER[depth], MODEL_ZOO[depth]
        top1, top5 = {"paper": paper.top1, "model zoo": zoo.top1}, {"model zoo": zoo.top5}
        yield _rednet(depth, "involution3", top1, top5)
    for depth in PAPER:
        yield _rednet(depth, "involution7", {"paper": None, "model zoo": None}, {"model zoo": None})


def _rednet(depth: int, stem: str, top1: Sources, top5: Sources) -> Subject:
    return Subject(f"RedNet-{depth}, {STEM_NAMES[stem]}", Network(depth, stem), top1, top5)


def _table(
    key: str, title: str, heading: str, members: Sequence[Subject], accuracies: Accuracies
) -> Table:
    pairs = [
        (subject, accuracy)
        for subject in members
        for accuracy in accuracies.get(subject.network, UNKNOWN)
        if accuracy or subject.is_published
    ]
    extra = [_told(accuracy) for _, accuracy in pairs]
    notes = [] if any(accuracy for _, accuracy in pairs) else [PUBLISHED_ONLY]
    notes += [STEM_NOTE] if key == "accuracy-rednet" else []
    rows = [_compare(subject, accuracy) for subject, accuracy in pairs]
    return comparison_table(key, title, heading, rows, digits=2, extra=extra, notes=notes)


def _told(accuracy: Accuracy | None) -> dict[str, str]:
    """The cells about an evaluation."""
    record = record_evaluation(accuracy)
    names = ("images", "interpolation", "precision", "checkpoint")
    return {name: "-" if record[name] is None else str(record[name]) for name in names}


def _compare(subject: Subject, accuracy: Accuracy | None) -> list[Comparison]:
    ours = (accuracy.top1, accuracy.top5) if accuracy else (None, None)
    published = {"top-1": subject.top1, "top-5": subject.top5}
    return [
        Comparison(
            subject.row,
            quantity,
            source,
            text,
            None if value is None else Decimal(str(value)),
            accuracy.notes if accuracy else "",
            str(subject.network),
            accuracy,
        )
        for value, (quantity, figures) in zip(ours, published.items(), strict=True)
        for source, text in figures.items()
    ]
