"""The contents of a file of weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rednet.weights.messages import printable

OURS = ("rednet", "rednet-safetensors")
READABLE_FORMATS = ("rednet-1", "rednet-2", "rednet-safetensors")
"""Values of `format` in our files; rednet-1 differs in the names of training counters and keys."""


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights.

    Attributes:
        path: Path of the file.
        kind: Program that wrote the file: "rednet" and "rednet-safetensors" are ours, the others
            are "openmmlab" (the original's), "paddle", "timm", "safetensors" and "state-dict".
        content: Everything in the file; a bare state dict is under the key "state_dict".
        state_dict: Weights to use: the averaged ones if there are any; a RedNet's have our names.
        model: Name and options of the network without `num_classes` and `in_chans`; None if
            unknown.
        is_inferred: Whether `model` was inferred from the tensors, now or when the file was
            converted. What tensors do not determine has its default, see `list_guesses`.
        num_classes: Outputs of the classifier, 0 without one; None if unknown.
        in_chans: Channels of the images; None if unknown.
        preprocessing: How to prepare images, by the names of `rednet.data.Preprocessing`; None if
            unknown.
        class_names: Names of the classes; None if unknown.
        dropped_parts: Parts of a detector or segmentor that `state_dict` lacks: all but its
            backbone and classifier.
        key: Configuration key that named the file, for error messages.
    """

    path: Path
    kind: str
    content: dict[str, Any]
    state_dict: dict[str, Tensor]
    model: dict[str, Any] | None = None
    is_inferred: bool = False
    num_classes: int | None = None
    in_chans: int | None = None
    preprocessing: dict[str, Any] | None = None
    class_names: list[str] | None = None
    dropped_parts: tuple[str, ...] = ()
    key: str = "checkpoint"

    @property
    def label(self) -> str:
        """Name of the file in error messages."""
        return f"{self.key}={self.path}"

    @property
    def has_head(self) -> bool:
        """Whether there is a classifier; True for networks other than RedNet."""
        return self.num_classes != 0

    def describe_network(self) -> str:
        """Return the network's name and options as text."""
        if self.model is None:
            return "an unknown network"
        options = ", ".join(f"{name}={value}" for name, value in self.model["options"].items())
        suffix = "" if self.has_head else " without classifier"
        return printable(f"{self.model['name']}{f' ({options})' if options else ''}") + suffix
