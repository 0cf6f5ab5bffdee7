"""Load a checkpoint's weights into a network, and explain why they do not fit."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.weights.checkpoint import Checkpoint, describe_model
from rednet.weights.messages import list_some
from rednet.weights.networks import require_network
from rednet.weights.plausible import build_network, require_plausible
from rednet.wording import count


def load_weights(model: nn.Module, checkpoint: Checkpoint, *, new_head: bool = False) -> str | None:
    """Load a checkpoint's weights into a network.

    Args:
        model: A timm model.
        checkpoint: The checkpoint.
        new_head: Whether to keep the network's classifier if the checkpoint has none, or one for
            another number of classes; otherwise that is an error.

    Returns:
        A message if the network's classifier was kept, else None.

    Raises:
        InputError: The weights do not fit; the message names some of the keys.
    """
    expected = model.state_dict()
    checkpoint = with_names_of(expected, checkpoint)
    head = _head_to_keep(model, checkpoint.state_dict)
    weights = {**checkpoint.state_dict, **head}
    require_fit(weights, expected, checkpoint)
    message = None
    if head:
        difference, remedy = _compare_heads(checkpoint, head)
        message = f"{difference}: the classifier is newly initialised"
        if not new_head:
            raise InputError(f"{difference}: {remedy}")
    model.load_state_dict(weights)
    return message


def with_names_of(expected: Mapping[str, Tensor], checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with that part of the removed prefix that belongs to the network.

    All tensors of some of timm's networks have names that begin with "encoder.".
    """
    parts = checkpoint.prefix.split(".")[:-1]
    for start in range(len(parts)):
        prefix = "".join(f"{part}." for part in parts[start:])
        if all(name.startswith(prefix) for name in expected):
            weights = {f"{prefix}{name}": each for name, each in checkpoint.state_dict.items()}
            return replace(checkpoint, state_dict=weights)
    return checkpoint


def _head_to_keep(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's classifier if everything else fits and only the classes differ.

    That is, if `weights` has no classifier or one for another number of classes.
    """
    expected = model.state_dict()
    head = {name: expected[name] for name in head_names(model)}
    found = [weights[key].shape for key in head if key in weights]
    wanted = [tensor.shape for tensor in head.values()]
    is_resized = found != wanted and [shape[1:] for shape in found] == [s[1:] for s in wanted]
    if found and not is_resized:
        return {}
    return {} if _mismatches({**weights, **head}, expected) else head


def head_names(model: nn.Module) -> list[str]:
    """Return the names of the tensors of a timm model's classifiers."""
    layers = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    layers = (layers,) if isinstance(layers, str) else layers
    return [name for name in model.state_dict() if name.rpartition(".")[0] in layers]


def _compare_heads(checkpoint: Checkpoint, head: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return how a checkpoint's classifier differs from the network's, and the remedy."""
    key, tensor = next(iter(head.items()))
    if key in checkpoint.state_dict:
        classes = len(checkpoint.state_dict[key])
        difference = f"its classifier has {count(classes, 'class')}, the data {len(tensor)}"
        return f"{checkpoint.label}: {difference}", "evaluate it on data with the same classes"
    return f"{checkpoint.label}: {explain_no_head(checkpoint)}", "train one first"


def explain_no_head(checkpoint: Checkpoint) -> str:
    """Return the text that a checkpoint has no classifier, and why."""
    parts = list_some(checkpoint.dropped_parts)
    if not parts:
        return "has no classifier"
    if checkpoint.kind == "openmmlab":
        return f"has no classifier, it comes from a detector or segmentor ({parts} dropped)"
    return f"has no classifier ({parts} dropped)"


def require_fit(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], checkpoint: Checkpoint
) -> None:
    """Check that weights fit a network.

    Args:
        weights: The checkpoint's weights, adapted to the network.
        expected: The network's state dict.
        checkpoint: The checkpoint, for the message.

    Raises:
        InputError: They do not fit; the message names some of the keys.
    """
    problems = _mismatches(weights, expected)
    if problems:
        origin = _explain_origin(checkpoint)
        raise InputError(f"{checkpoint.label}: does not fit this network: {problems}{origin}")


def require_body_fits(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Check that weights fit a network but for its classifier and its image channels.

    Args:
        weights: Weights under the network's names.
        model: A timm model.

    Raises:
        InputError: They do not fit; the message names some of the keys.
    """
    cfg = getattr(model, "pretrained_cfg", {})
    adapted = {*head_names(model), f"{cfg.get('first_conv')}.weight"}
    theirs, ours = (
        {name: tensor for name, tensor in tensors.items() if name not in adapted}
        for tensors in (weights, model.state_dict())
    )
    if problems := _mismatches(theirs, ours):
        name = cfg.get("architecture", "this network")
        raise InputError(f"the pretrained weights do not fit {name}: {problems}")


def _explain_origin(checkpoint: Checkpoint) -> str:
    """Return which network a checkpoint is for and, if the user named another one, that too."""
    if checkpoint.is_silent:
        return "; the file does not say which network it is for"
    if checkpoint.file_model is not None and checkpoint.model is not None:
        theirs, ours = describe_model(**checkpoint.file_model), describe_model(**checkpoint.model)
        return f"; it is for {theirs}, not for {ours}" if theirs != ours else f"; it is for {ours}"
    return f"; it is for {checkpoint.describe_network()}" if checkpoint.model else ""


def _mismatches(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    shared = sorted(expected.keys() & weights.keys())
    kinds = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - expected.keys()),
        "of another shape": [
            f"{key} {tuple(weights[key].shape)}, not {tuple(expected[key].shape)}"
            for key in shared
            if weights[key].shape != expected[key].shape
        ],
        "of another type": [
            f"{key} {weights[key].dtype}"
            for key in shared
            if not _can_hold(expected[key], weights[key])
        ],
    }
    return "; ".join(
        f"{len(keys)} {kind} ({list_some(keys)})" for kind, keys in kinds.items() if keys
    )


def _can_hold(expected: Tensor, weight: Tensor) -> bool:
    """Whether a network's tensor can hold a weight's values: counters may have any real dtype."""
    return weight.is_floating_point() or not (expected.is_floating_point() or weight.is_complex())


def restore_model(checkpoint: Checkpoint) -> nn.Module:
    """Build a checkpoint's network in training mode and load its weights.

    Raises:
        InputError: The network is unknown, or the weights do not fit it.
    """
    empty = build_empty(checkpoint)  # checked before memory is taken: a file may ask for any size
    checkpoint = with_names_of(empty.state_dict(), checkpoint)
    model = build_network(checkpoint, require_network(checkpoint))
    model.load_state_dict(checkpoint.state_dict)
    return model


def build_empty(checkpoint: Checkpoint) -> nn.Module:
    """Build a checkpoint's network on the meta device, where it takes no memory.

    Raises:
        InputError: The network is unknown, or the checkpoint's weights do not fit it.
    """
    require_plausible(checkpoint)
    with torch.device("meta"):
        empty = build_network(checkpoint, require_network(checkpoint))
    expected = empty.state_dict()
    require_fit(with_names_of(expected, checkpoint).state_dict, expected, checkpoint)
    return empty
