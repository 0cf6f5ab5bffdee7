"""Weights from a checkpoint into a network, and everything that can be wrong with that."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.models import get_arch_name, get_pretrained_cfg
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.models.variants import LAYERS
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.messages import list_some, printable


def load_weights(model: nn.Module, checkpoint: Checkpoint, *, new_head: bool = False) -> str | None:
    """Loads a checkpoint's weights into a network.

    Args:
        model: A timm model.
        checkpoint: As read.
        new_head: Whether a classifier that the file lacks, or has for another number of classes, is
            left as it is; otherwise it is an error.

    Returns:
        A line that says so if the classifier was left as it is.

    Raises:
        InputError: The weights are another network's; some of the keys that do not fit are named.
    """
    own = model.state_dict()
    head = _other_head(model, checkpoint.state_dict)
    weights = {**checkpoint.state_dict, **head}
    require_fit(weights, own, checkpoint)
    note = None
    if head:
        found, remedy = _compare_heads(checkpoint, head)
        note = f"{found}: the classifier starts anew"
        if not new_head:
            raise InputError(f"{found}: {remedy}")
    model.load_state_dict(weights)
    return note


def _other_head(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's classifier if it alone does not fit, by its presence or number of classes."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    own = model.state_dict()
    head = {key: tensor for key, tensor in own.items() if key.rpartition(".")[0] in names}
    its = [weights[key].shape for key in head if key in weights]
    ours = [tensor.shape for tensor in head.values()]
    is_resized = its != ours and [shape[1:] for shape in its] == [shape[1:] for shape in ours]
    if its and not is_resized:
        return {}
    return {} if _mismatches({**weights, **head}, own) else head


def _compare_heads(checkpoint: Checkpoint, head: Mapping[str, Tensor]) -> tuple[str, str]:
    """How a checkpoint's classifier differs from a network's, and what to do about it."""
    key, tensor = next(iter(head.items()))
    if key in checkpoint.state_dict:
        classes = len(checkpoint.state_dict[key])
        found = f"its classifier has {classes} classes, the data {len(tensor)}"
        return f"{checkpoint.label}: {found}", "evaluate it on data with its own classes"
    return f"{checkpoint.label}: {explain_no_head(checkpoint)}", "train one on top of it first"


def explain_no_head(checkpoint: Checkpoint) -> str:
    """Says that a checkpoint has no classifier, and why."""
    parts = list_some(checkpoint.dropped_parts)
    origin = f" but is of a detector or segmentor ({parts} left out)" if parts else ""
    return f"holds no classifier{origin}"


def require_fit(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], checkpoint: Checkpoint
) -> None:
    """Checks that weights are those of a network.

    Args:
        weights: The checkpoint's, made ready for the network.
        own: The network's.
        checkpoint: Where they come from.

    Raises:
        InputError: They are not; names missing, unexpected and misshapen keys, some of each.
    """
    problems = _mismatches(weights, own)
    if problems:
        known = f"; it is of {checkpoint.describe_network()}" if checkpoint.model else ""
        raise InputError(f"{checkpoint.label}: not of this network: {problems}{known}")


def _mismatches(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    shared = sorted(own.keys() & weights.keys())
    shapes = [
        f"{key} {tuple(weights[key].shape)} for {tuple(own[key].shape)}"
        for key in shared
        if weights[key].shape != own[key].shape
    ]
    kinds = {
        "missing": sorted(own.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - own.keys()),
        "misshapen": shapes,
        "not of real numbers": [
            f"{key} {weights[key].dtype}" for key in shared if not _can_hold(own[key], weights[key])
        ],
    }
    return "; ".join(
        f"{len(keys)} {kind} ({list_some(keys)})" for kind, keys in kinds.items() if keys
    )


def _can_hold(own: Tensor, weight: Tensor) -> bool:
    """Whether numbers mean the same in a network's tensor; counters may be of any real type."""
    return weight.is_floating_point() or not (own.is_floating_point() or weight.is_complex())


def merge_options(checkpoint: Checkpoint, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a network for a checkpoint: the given ones, and what the checkpoint settles.

    Args:
        checkpoint: Of this network, as far as it is known.
        name: The network's, in timm.
        options: Given ones, which go first; None means not given.

    Raises:
        InputError: The checkpoint is of another network.
    """
    options = {option: value for option, value in options.items() if value is not None}
    if checkpoint.model is None:
        return options
    its_name, its = get_arch_name(checkpoint.model["name"]), checkpoint.model["options"]
    name = get_arch_name(name)
    if its_name == name:
        return {**its, **options}
    its_layers, layers = (
        its.get("layers", LAYERS.get(its_name)),
        options.get("layers", LAYERS.get(name)),
    )
    if its_layers is None or layers is None or list(its_layers) != list(layers):
        raise InputError(f"{checkpoint.label} is of {checkpoint.describe_network()}, not of {name}")
    return {**its, **options, "layers": layers}


def override_network(checkpoint: Checkpoint, name: str, options: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint with the network that the user names; see `merge_options`."""
    network = {"name": name, "options": merge_options(checkpoint, name, options)}
    return replace(checkpoint, model=network, is_inferred=False)


def require_network(checkpoint: Checkpoint) -> dict[str, Any]:
    """Name and options of a checkpoint's network; InputError where it does not tell them."""
    if checkpoint.model is None:
        raise InputError(
            f"{checkpoint.label} does not tell which network it is of: name it, e.g. model=rednet50"
        )
    return checkpoint.model


def restore_model(checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint, with its weights and in training mode.

    Raises:
        InputError: It does not tell its network, or its weights do not fit that.
    """
    network = require_network(checkpoint)
    with torch.device("meta"):  # whatever a file asks for, it takes no memory yet
        planned = _build(checkpoint, network)
    require_fit(checkpoint.state_dict, planned.state_dict(), checkpoint)
    model = _build(checkpoint, network)
    model.load_state_dict(checkpoint.state_dict)
    return model


def _build(checkpoint: Checkpoint, network: Mapping[str, Any]) -> nn.Module:
    if not timm.is_model(network["name"]):
        name = printable(network["name"])
        raise InputError(f"{checkpoint.label}: timm has no network called {name}")
    options = {**_count_ends(checkpoint), **network["options"]}
    try:
        return timm.create_model(network["name"], **options)
    except (ValueError, TypeError, AssertionError, LookupError, RuntimeError) as error:
        reason = printable(" ".join(str(error).split()))
        raise InputError(
            f"{checkpoint.label}: cannot build {checkpoint.describe_network()}: {reason}"
        ) from error


def _count_ends(checkpoint: Checkpoint) -> dict[str, int]:
    """Numbers of classes and image channels, where the checkpoint or timm's layer names tell."""
    assert checkpoint.model is not None
    cfg = get_pretrained_cfg(checkpoint.model["name"])
    layers = (cfg.classifier, cfg.first_conv) if cfg else (None, None)
    known = {"num_classes": checkpoint.num_classes, "in_chans": checkpoint.in_chans}
    for axis, (option, layer) in enumerate(zip(known, layers, strict=True)):
        weight = checkpoint.state_dict.get(f"{layer}.weight")
        if known[option] is None and weight is not None and weight.ndim > axis:
            known[option] = weight.shape[axis]
    return {option: count for option, count in known.items() if count is not None}
