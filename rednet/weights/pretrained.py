"""Load any file of weights when timm creates a pretrained RedNet."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from timm.models import adapt_input_conv, resolve_pretrained_cfg
from torch import Tensor

from rednet.data import imagenet_labels, imagenet_synsets
from rednet.errors import InputError
from rednet.models.rednet import RedNet
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.loading import explain_no_head, require_fit
from rednet.weights.networks import merge_options
from rednet.weights.notes import ASSUMED, list_notes
from rednet.weights.preprocessing import imagenet_preprocessing
from rednet.weights.reading import read_checkpoint
from rednet.wording import printable

_logger = logging.getLogger(__name__)
FIRST_CONV = "stem.0.conv.weight"
HEAD = ("fc.weight", "fc.bias")


def prepare_pretrained(
    file: str | Path, variant: str, arguments: Mapping[str, Any]
) -> tuple[Callable[..., RedNet], dict[str, Any]]:
    """Return what timm needs to create a RedNet with the weights of a file.

    The network gets the file's options unless others are given. As everywhere in timm, the
    classifier is newly initialised if its number of classes differs from `pretrained_cfg`, and the
    first convolution is adapted to the number of channels.

    Args:
        file: File of any kind that `read_checkpoint` supports.
        variant: The network's name in timm.
        arguments: The caller's arguments of the network and of timm's `build_model_with_cfg`.

    Returns:
        A function that builds the network with its weights, and the arguments for timm.

    Raises:
        InputError: The file cannot be read, or is for another network.
    """
    _logger.info(f"Loading pretrained weights from file ({file})")
    checkpoint = read_checkpoint(file, key="file")
    given = [name for name, value in arguments.items() if value is not None]
    arguments = merge_options(checkpoint, variant, arguments)
    log_notes(checkpoint, given)
    overlay = {**pretrained_cfg_of(checkpoint), **(arguments.get("pretrained_cfg_overlay") or {})}
    arguments["pretrained_cfg_overlay"] = overlay
    if arguments.get("features_only"):
        arguments["num_classes"] = 0
    cfg = resolve_pretrained_cfg(variant, arguments.get("pretrained_cfg"), overlay)
    return partial(_make_pretrained, checkpoint, cfg.num_classes), arguments


def log_notes(checkpoint: Checkpoint, given_options: Collection[str]) -> None:
    """Log which of a file's weights are used, and warn of what was assumed about the network.

    Args:
        checkpoint: The file.
        given_options: Names of the network's options that the caller gave.
    """
    for note in list_notes(replace(checkpoint, given_options=frozenset(given_options))):
        level = logging.INFO if note.startswith("weights: ") else logging.WARNING
        hint = "; give the options that are wrong" if note.startswith(ASSUMED) else ""
        _logger.log(level, f"{printable(checkpoint.path)}: {note}{hint}")


def pretrained_cfg_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a checkpoint says about its classes and images, by timm's names."""
    cfg = dict(checkpoint.preprocessing or {})
    size = cfg.pop("image_size", imagenet_preprocessing()["image_size"])
    if cfg.get("interpolation") == "opencv":
        cfg["interpolation"] = "bilinear"  # timm resizes with Pillow only
    if checkpoint.num_classes:
        cfg["num_classes"] = checkpoint.num_classes
    if checkpoint.in_chans is not None:
        cfg["input_size"] = (checkpoint.in_chans, size, size)
    if checkpoint.class_names is not None:
        cfg["label_names"] = tuple(checkpoint.class_names)
        descriptions = dict(zip(imagenet_synsets(), imagenet_labels(), strict=True))
        if descriptions.keys() >= set(checkpoint.class_names):
            cfg["label_descriptions"] = {name: descriptions[name] for name in cfg["label_names"]}
    return cfg


def _make_pretrained(checkpoint: Checkpoint, pretrained_classes: int, **options: Any) -> RedNet:
    model = RedNet(**options)
    fill_network(model, checkpoint, pretrained_classes)
    return model


def fill_network(model: RedNet, checkpoint: Checkpoint, pretrained_classes: int) -> None:
    """Load weights into a network, whose classifier stays as it is if it has other classes.

    Args:
        model: The network.
        checkpoint: The weights.
        pretrained_classes: Number of classes that the weights are for.

    Raises:
        InputError: The weights do not fit.
    """
    expected = model.state_dict()
    weights = _adapt_input(dict(checkpoint.state_dict), model.in_chans)
    if model.num_classes != pretrained_classes:
        weights = {name: tensor for name, tensor in weights.items() if name not in HEAD}
        weights |= {name: expected[name] for name in HEAD if name in expected}
    elif not checkpoint.has_head:
        raise InputError(
            f"{checkpoint.label}: {explain_no_head(checkpoint)}: pass features_only=True, "
            f"num_classes=0, or a num_classes other than {pretrained_classes} for a new one"
        )
    require_fit(weights, expected, checkpoint)
    model.load_state_dict(weights)


def _adapt_input(weights: dict[str, Tensor], in_chans: int) -> dict[str, Tensor]:
    """Adapt the first convolution's weight to the number of channels, as timm does."""
    weight = weights.get(FIRST_CONV)
    if weight is None or weight.shape[1] == in_chans:
        return weights
    return {**weights, FIRST_CONV: adapt_input_conv(in_chans, weight, weight.shape[1])}
