"""Read, identify, load and write files of weights of all kinds."""

from rednet.weights.checkpoint import OURS, Checkpoint
from rednet.weights.fine_tuning import start_from
from rednet.weights.loading import build_empty, load_weights, restore_model
from rednet.weights.networks import merge_options, override_network, require_network
from rednet.weights.notes import list_notes
from rednet.weights.plausible import (
    count_channels,
    num_classes_and_in_chans,
    require_plausible,
)
from rednet.weights.preprocessing import imagenet_preprocessing
from rednet.weights.reading import read_checkpoint
from rednet.weights.run_config import read_run_config
from rednet.weights.safetensors_file import write_safetensors
from rednet.weights.sets import find_sets

__all__ = [
    "OURS",
    "Checkpoint",
    "build_empty",
    "count_channels",
    "find_sets",
    "imagenet_preprocessing",
    "list_notes",
    "load_weights",
    "merge_options",
    "num_classes_and_in_chans",
    "override_network",
    "read_checkpoint",
    "read_run_config",
    "require_network",
    "require_plausible",
    "restore_model",
    "start_from",
    "write_safetensors",
]
