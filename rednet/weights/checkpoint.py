"""A file of weights, read: what it says, and what its tensors tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rednet.weights.messages import printable

OURS = ("rednet", "rednet-safetensors")
READABLE_FORMATS = ("rednet-1", "rednet-2", "rednet-safetensors")
"""What `format` may be in files of ours; rednet-1 names training counters and keys differently."""


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights.

    Attributes:
        path: Where it lies.
        kind: Who wrote it: "rednet" and "rednet-safetensors" are ours, the others "openmmlab" (the
            original's), "paddle", "timm", "safetensors", "state-dict".
        content: All of it; a bare state dict under the key "state_dict".
        state_dict: The weights to use: the averaged ones where there are some, and a RedNet's under
            our names.
        model: Name and options of the network, its numbers of classes and image channels apart;
            None where neither the file nor its tensors tell.
        is_inferred: Whether `model` was found out from the tensors, now or when the file was
            converted. What they cannot tell is left at its default, see `list_guesses`.
        num_classes: Outputs of the classifier, 0 for none; None where it is unknown.
        in_chans: Channels of the images; None where it is unknown.
        preprocessing: How to prepare pictures, by the names of `rednet.data.Preprocessing`; None
            where it is unknown.
        class_names: What the classes are called; None where it is unknown.
        dropped_parts: Parts of a detector or segmentor that `state_dict` lacks: all but its
            backbone and classifier.
        key: Of the configuration that named the file, for error messages.
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
        """How error messages call it."""
        return f"{self.key}={self.path}"

    @property
    def has_head(self) -> bool:
        """Whether there is a classifier; of networks other than RedNet it is taken for granted."""
        return self.num_classes != 0

    def describe_network(self) -> str:
        """The network's name and options, in words."""
        if self.model is None:
            return "an unknown network"
        options = ", ".join(f"{name}={value}" for name, value in self.model["options"].items())
        backbone = "" if self.has_head else " without classifier"
        return printable(f"{self.model['name']}{f' ({options})' if options else ''}") + backbone
