"""Accuracies: the published ones and, where checkpoints were evaluated, ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rednet.analysis.paper.ablations import HEADING, ablations
from rednet.analysis.paper.comparison import UNPUBLISHED, Comparison, Sources
from rednet.analysis.paper.networks import STEM_NAMES, Network, resnet
from rednet.analysis.paper.published import LAYERS, MODEL_ZOO, PAPER, RESNET
from rednet.analysis.paper.tables import Table, comparison_table

VALIDATION_IMAGES, IMAGE_SIZE = 50_000, 224
PUBLISHED_ONLY = (
    "Nothing was evaluated: these are the published accuracies alone. "
    "`checkpoints=FOLDER data.root=FOLDER` evaluates what lies there."
)
STEM_NOTE = (
    "The published complexity is that of the 7x7 stem. The weights released for classification "
    "have the 3x3 one, and with it reach the model zoo's accuracies (78.33 % for RedNet-50 as "
    "PaddleClas converted it)."
)
TITLES = {
    "accuracy-rednet": ("Table 1, accuracy of RedNet on ImageNet", "Network"),
    "accuracy-resnet": ("Table 1, accuracy of ResNet on ImageNet", "Network"),
    "accuracy-ablations": ("Ablations, accuracy on ImageNet", HEADING),
}


@dataclass(frozen=True)
class Accuracy:
    """Of a checkpoint.

    Attributes:
        top1: In percent.
        top5: In percent.
        images: How many were evaluated.
        image_size: Their side in pixels.
        checkpoint: Name of its file.
    """

    top1: float
    top5: float
    images: int
    image_size: int
    checkpoint: str

    @property
    def remark(self) -> str:
        """In what the evaluation is not that of the publications."""
        parts = []
        if self.images != VALIDATION_IMAGES:
            parts.append(f"on {self.images:,} images, not on all {VALIDATION_IMAGES:,}")
        if self.image_size != IMAGE_SIZE:
            parts.append(f"at {self.image_size} pixels, not at {IMAGE_SIZE}")
        return f"Evaluated {' and '.join(parts)}." if parts else ""


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


def subjects() -> dict[str, list[Subject]]:
    """The rows of each table of accuracies, by its key."""
    return {
        "accuracy-rednet": list(_rednets()),
        "accuracy-resnet": [
            Subject(f"ResNet-{depth}", resnet(depth), {"plot": RESNET[depth].top1}, UNPUBLISHED)
            for depth in LAYERS
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
    for stem in ("involution3", "involution7"):
        for depth in LAYERS:
            paper, zoo = PAPER[depth], MODEL_ZOO[depth]
            yield Subject(
                f"RedNet-{depth}, {STEM_NAMES[stem]}",
                Network(depth, stem),
                {"paper": paper.top1, "model zoo": zoo.top1},
                {"model zoo": zoo.top5},
            )


def _table(
    key: str, title: str, heading: str, members: Sequence[Subject], accuracies: Accuracies
) -> Table:
    pairs = [
        (subject, accuracy)
        for subject in members
        for accuracy in accuracies.get(subject.network, UNKNOWN)
    ]
    extra = [
        {
            "images": str(accuracy.images) if accuracy else "-",
            "checkpoint": accuracy.checkpoint if accuracy else "-",
        }
        for _, accuracy in pairs
    ]
    notes = [] if any(accuracy for _, accuracy in pairs) else [PUBLISHED_ONLY]
    notes += [STEM_NOTE] if key == "accuracy-rednet" else []
    rows = [_compare(subject, accuracy) for subject, accuracy in pairs]
    return comparison_table(key, title, heading, rows, digits=2, extra=extra, notes=notes)


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
            accuracy.remark if accuracy else "",
            str(subject.network),
        )
        for value, (quantity, figures) in zip(ours, published.items(), strict=True)
        for source, text in figures.items()
    ]
