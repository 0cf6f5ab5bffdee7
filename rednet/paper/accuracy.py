"""The accuracy of an evaluated checkpoint, and whether it is comparable with published ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from statistics import mean, stdev
from typing import Any

from rednet.data import Preprocessing
from rednet.weights import imagenet_preprocessing

PUBLISHED_CONDITIONS: Mapping[str, tuple[Any, ...]] = {
    "images": (50_000,),
    **{name: (value,) for name, value in asdict(Preprocessing(**imagenet_preprocessing())).items()},
    "interpolation": ("bilinear", "opencv"),
    "precision": ("fp32", "tf32"),
}
"""The values that each condition may have for an accuracy to be comparable with published ones."""

RECORDED_CONDITIONS = ("images", "image_size", "crop_pct", "interpolation", "precision")
DIGITS = 6
"""Decimal places of means and deviations; 50,000 images have four."""
OF_RUNS = ("seeds", "top1_spread", "top5_spread")
"""What is recorded of accuracies of finished runs only."""
NAMED_BY_FILE = (
    "The network is inferred from the file's name; other networks have the same tensors."
)


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of one checkpoint, or of the runs of one network, and how it was found.

    Attributes:
        top1: Top-1 accuracy in percent.
        top5: Top-5 accuracy in percent.
        images: Number of evaluated images.
        preprocessing: Preprocessing of the images.
        precision: Precision of the arithmetic: "fp32", "tf32", "bf16" or "fp16".
        checkpoint: Name of the checkpoint's file, or of the runs' folders.
        is_named_by_file: Whether the network is known from the file's name alone.
        seeds: Seeds of the runs; empty for a checkpoint that was evaluated.
        recipe: How the training of the runs differed from the paper's; "" if it did not.
        spread: Standard deviations of top-1 and top-5 over the runs, None for a single one.
    """

    top1: float
    top5: float
    images: int
    preprocessing: Preprocessing
    precision: str
    checkpoint: str
    is_named_by_file: bool = False
    seeds: tuple[int, ...] = ()
    recipe: str = ""
    spread: tuple[float, float] | None = None

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions of the evaluation, with the keys of `PUBLISHED_CONDITIONS`."""
        return {
            "images": self.images,
            **asdict(self.preprocessing),
            "precision": self.precision,
        }

    @property
    def deviations(self) -> str:
        """How evaluation and training differ from the published ones, or "" if they agree."""
        differences = [
            f"{name} {value}, not {' or '.join(map(str, PUBLISHED_CONDITIONS[name]))}"
            for name, value in self.conditions.items()
            if value not in PUBLISHED_CONDITIONS[name]
        ]
        evaluated = f"Not evaluated as published: {'; '.join(differences)}." if differences else ""
        trained = f"Not trained as published: {self.recipe}." if self.recipe else ""
        return f"{evaluated} {trained}".strip()

    @property
    def notes(self) -> str:
        """Everything that a reader of the table should know about the accuracy."""
        source = NAMED_BY_FILE if self.is_named_by_file else ""
        return f"{source} {self.deviations}".strip()


def evaluation_record(accuracy: Accuracy | None) -> dict[str, Any]:
    """Return the checkpoint and the recorded conditions, all None without an evaluation."""
    if accuracy is None:
        return dict.fromkeys(("checkpoint", *RECORDED_CONDITIONS, *OF_RUNS))
    conditions = accuracy.conditions
    recorded = {name: conditions[name] for name in RECORDED_CONDITIONS}
    spread = accuracy.spread or (None, None)
    runs = (" ".join(map(str, accuracy.seeds)) or None, *spread)
    return {"checkpoint": accuracy.checkpoint, **recorded, **dict(zip(OF_RUNS, runs, strict=True))}


def average_runs(accuracies: Iterable[Accuracy]) -> list[Accuracy]:
    """Average the accuracies of the runs of a network that differ in nothing but the seed.

    The spread is the standard deviation of a run (n - 1), not that of the mean.
    """

    def conditions(run: Accuracy) -> str:
        return f"{run.recipe} {run.conditions}"

    ordered = sorted(accuracies, key=lambda run: (conditions(run), run.seeds, run.checkpoint))
    return [_average(list(group)) for _, group in groupby(ordered, conditions)]


def _average(runs: Sequence[Accuracy]) -> Accuracy:
    top1, top5 = ([getattr(run, name) for run in runs] for name in ("top1", "top5"))
    return replace(
        runs[0],
        top1=round(mean(top1), DIGITS),
        top5=round(mean(top5), DIGITS),
        checkpoint=", ".join(run.checkpoint for run in runs),
        seeds=tuple(seed for run in runs for seed in run.seeds),
        spread=(round(stdev(top1), DIGITS), round(stdev(top5), DIGITS)) if len(runs) > 1 else None,
    )
