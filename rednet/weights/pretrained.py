"""Load any file of weights when timm creates a pretrained RedNet."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from timm.models import adapt_input_conv, resolve_pretrained_cfg
from torch import Tensor

from rednet.errors import InputError
from rednet.models.rednet import RedNet
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.description import imagenet_preprocessing
from rednet.weights.loading import explain_no_head, merge_options, require_fit
from rednet.weights.reading import read_checkpoint

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
    arguments = merge_options(checkpoint, variant, arguments)
    overlay = {**_pretrained_cfg(checkpoint), **(arguments.get("pretrained_cfg_overlay") or {})}
    arguments["pretrained_cfg_overlay"] = overlay
    if arguments.get("features_only"):
        arguments["num_classes"] = 0
    cfg = resolve_pretrained_cfg(variant, arguments.get("pretrained_cfg"), overlay)
    return partial(_make_pretrained, checkpoint, cfg.num_classes), arguments


def _pretrained_cfg(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a checkpoint says about its classes and images, by timm's names."""
    cfg = dict(checkpoint.preprocessing or {})
    size = cfg.pop("image_size", imagenet_preprocessing()["image_size"])
    if cfg.get("interpolation") == "opencv":
        cfg["interpolation"] = "bilinear"  # timm resizes with Pillow only
    if checkpoint.num_classes:
        cfg["num_classes"] = checkpoint.num_classes
    if checkpoint.in_chans is not None:
        cfg["input_size"] = (checkpoint.in_chans, size, size)
    return cfg


def _make_pretrained(checkpoint: Checkpoint, pretrained_classes: int, **options: Any) -> RedNet:
    model = RedNet(**options)
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
    return model


def _adapt_input(weights: dict[str, Tensor], in_chans: int) -> dict[str, Tensor]:
    """Adapt the first convolution's weight to the number of channels, as timm does."""
    weight = weights.get(FIRST_CONV)
    if weight is None or weight.shape[1] == in_chans:
        return weights
    return {**weights, FIRST_CONV: adapt_input_conv(in_chans, weight, weight.shape[1])}
