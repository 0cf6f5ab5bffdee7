"""An accuracy measured here: of which file, how, and whether it bears comparison."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rednet.data import Preprocessing
from rednet.weights import imagenet_preprocessing

AS_PUBLISHED: Mapping[str, tuple[Any, ...]] = {
    "images": (50_000,),
    **{name: (value,) for name, value in asdict(Preprocessing(**imagenet_preprocessing())).items()},
    "interpolation": ("bilinear", "opencv"),
    "precision": ("fp32", "tf32"),
}
"""What an evaluation has to be for its accuracy to be comparable with the published ones."""

RECORDED = ("images", "image_size", "crop_pct", "interpolation", "precision")
NAMED_BY_FILE = "The network is taken from the file's name; others have the same tensors."


@dataclass(frozen=True)
class Accuracy:
    """Of a checkpoint.

    Attributes:
        top1: In percent.
        top5: In percent.
        images: How many were evaluated.
        preprocessing: What was done to them.
        precision: Of the arithmetic: "fp32", "tf32" (what GPUs may make of that), "bf16", "fp16".
        checkpoint: Name of its file.
        is_named_by_file: Whether nothing but that name tells the network.
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
        """How it was evaluated, by the names of `AS_PUBLISHED`."""
        return {
            "images": self.images,
            **asdict(self.preprocessing),
            "precision": self.precision,
        }

    @property
    def remark(self) -> str:
        """In what the evaluation is not that of the publications, "" if it is in nothing."""
        differences = [
            f"{name} {value}, not {' or '.join(map(str, AS_PUBLISHED[name]))}"
            for name, value in self.conditions.items()
            if value not in AS_PUBLISHED[name]
        ]
        return f"Not evaluated as published: {'; '.join(differences)}." if differences else ""

    @property
    def notes(self) -> str:
        """All that is to be known beside the figures."""
        told = NAMED_BY_FILE if self.is_named_by_file else ""
        return f"{told} {self.remark}".strip()


def record_evaluation(accuracy: Accuracy | None) -> dict[str, Any]:
    """Whose accuracy a figure is, and how it came about; all None where nothing was evaluated."""
    if accuracy is None:
        return dict.fromkeys(("checkpoint", *RECORDED))
    conditions = accuracy.conditions
    return {"checkpoint": accuracy.checkpoint, **{name: conditions[name] for name in RECORDED}}
