"""The accuracy of an evaluated checkpoint, and whether it is comparable with published ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
NAMED_BY_FILE = (
    "The network is inferred from the file's name; other networks have the same tensors."
)


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of one checkpoint and the conditions of its evaluation.

    Attributes:
        top1: Top-1 accuracy in percent.
        top5: Top-5 accuracy in percent.
        images: Number of evaluated images.
        preprocessing: Preprocessing of the images.
        precision: Precision of the arithmetic: "fp32", "tf32", "bf16" or "fp16".
        checkpoint: Name of the checkpoint's file.
        is_named_by_file: Whether the network is known from the file's name alone.
    """

    top1: float
    top5: float
    images: int
    preprocessing: Preprocessing
    precision: str
    checkpoint: str
    is_named_by_file: bool = False

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
        """How the conditions differ from the published ones, or "" if they agree."""
        differences = [
            f"{name} {value}, not {' or '.join(map(str, PUBLISHED_CONDITIONS[name]))}"
            for name, value in self.conditions.items()
            if value not in PUBLISHED_CONDITIONS[name]
        ]
        return f"Not evaluated as published: {'; '.join(differences)}." if differences else ""

    @property
    def notes(self) -> str:
        """Everything that a reader of the table should know about the accuracy."""
        source = NAMED_BY_FILE if self.is_named_by_file else ""
        return f"{source} {self.deviations}".strip()


def evaluation_record(accuracy: Accuracy | None) -> dict[str, Any]:
    """Return the checkpoint and the recorded conditions, all None without an evaluation."""
    if accuracy is None:
        return dict.fromkeys(("checkpoint", *RECORDED_CONDITIONS))
    conditions = accuracy.conditions
    recorded = {name: conditions[name] for name in RECORDED_CONDITIONS}
    return {"checkpoint": accuracy.checkpoint, **recorded}
