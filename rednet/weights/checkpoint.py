"""The contents of a file of weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rednet.weights.messages import printable

OURS = ("rednet", "rednet-safetensors")
DESCRIBED = (*OURS, "hub")
"""Kinds of files that say which network they are for, under our keys."""
READABLE_FORMATS = ("rednet-1", "rednet-2", "rednet-safetensors")
"""Values of `format` in our files; rednet-1 differs in the names of training counters and keys."""


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights.

    Attributes:
        path: Path of the file.
        kind: Program that wrote the file: "rednet" and "rednet-safetensors" are ours, the others
            are "openmmlab" (the original's), "paddle", "timm", "hub" (safetensors beside timm's
            `config.json`), "safetensors" and "state-dict".
        content: Everything in the file; a bare state dict is under the key "state_dict".
        state_dict: Weights to use: the averaged ones if there are any; a RedNet's have our names.
        is_averaged: Whether `state_dict` holds averages over training steps.
        weights_key: Key of `state_dict` in the file; empty for a bare state dict.
        other_keys: Keys of the weights in the file that were not chosen.
        prefix: What was removed from the beginning of the tensors' names.
        model: Name and options of the network without `num_classes` and `in_chans`; None if
            unknown.
        is_inferred: Whether `model` was inferred from the tensors, now or when the file was
            converted. What tensors do not determine has its default, see `list_guesses`.
        file_model: Name and options that the file is for, if the user gave others.
        is_silent: Whether only the user says what `model` is: the file does not.
        given_options: Names of the options in `model` that the user gave.
        num_classes: Outputs of the classifier, 0 without one; None if unknown.
        in_chans: Channels of the images; None if unknown.
        preprocessing: How to prepare images, by the names of `rednet.data.Preprocessing`; None if
            unknown.
        class_names: Names of the classes; None if unknown.
        dropped_parts: First parts of the names of tensors that `state_dict` lacks, such as those
            of a detector other than its backbone.
        key: Configuration key that named the file, for error messages.
    """

    path: Path
    kind: str
    content: dict[str, Any]
    state_dict: dict[str, Tensor]
    model: dict[str, Any] | None = None
    is_inferred: bool = False
    file_model: dict[str, Any] | None = None
    is_silent: bool = False
    given_options: frozenset[str] = frozenset()
    num_classes: int | None = None
    in_chans: int | None = None
    preprocessing: dict[str, Any] | None = None
    class_names: list[str] | None = None
    dropped_parts: tuple[str, ...] = ()
    is_averaged: bool = False
    weights_key: str = ""
    other_keys: tuple[str, ...] = ()
    prefix: str = ""
    key: str = "checkpoint"

    @property
    def label(self) -> str:
        """Name of the file in error messages."""
        return f"{self.key}={printable(str(self.path))}"

    @property
    def has_head(self) -> bool:
        """Whether there is a classifier; True for networks other than RedNet."""
        return self.num_classes != 0

    def describe_network(self) -> str:
        """Return the network's name and options as text."""
        if self.model is None:
            return "an unknown network"
        suffix = "" if self.has_head else " without classifier"
        return f"{describe_model(**self.model)}{suffix}"


def describe_model(name: str, options: Mapping[str, Any]) -> str:
    """Return a network's name and options as text."""
    given = ", ".join(f"{option}={value}" for option, value in options.items())
    return printable(f"{name}{f' ({given})' if given else ''}")
