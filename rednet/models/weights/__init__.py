"""Weights from files of all kinds: read, recognised, loaded, written."""

from rednet.models.weights.checkpoint import Checkpoint
from rednet.models.weights.loading import load_weights, merge_options, restore_model
from rednet.models.weights.reading import imagenet_preprocessing, read_checkpoint
from rednet.models.weights.safetensors_file import write_safetensors

__all__ = [
    "Checkpoint",
    "imagenet_preprocessing",
    "load_weights",
    "merge_options",
    "read_checkpoint",
    "restore_model",
    "write_safetensors",
]
