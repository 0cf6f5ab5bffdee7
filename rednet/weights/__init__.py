"""Read, identify, load and write files of weights of all kinds."""

from rednet.weights.architecture import list_guesses
from rednet.weights.checkpoint import OURS, Checkpoint
from rednet.weights.description import imagenet_preprocessing
from rednet.weights.loading import (
    load_weights,
    merge_options,
    num_classes_and_in_chans,
    override_network,
    require_network,
    restore_model,
)
from rednet.weights.reading import read_checkpoint
from rednet.weights.safetensors_file import write_safetensors

__all__ = [
    "OURS",
    "Checkpoint",
    "imagenet_preprocessing",
    "list_guesses",
    "load_weights",
    "merge_options",
    "num_classes_and_in_chans",
    "override_network",
    "read_checkpoint",
    "require_network",
    "restore_model",
    "write_safetensors",
]
