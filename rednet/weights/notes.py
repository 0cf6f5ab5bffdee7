"""What a user must know about a file of weights: which of them are used, and what was assumed."""

from collections.abc import Iterator

import torch

from rednet.models.variants import UNSEEN
from rednet.weights.architecture import list_guesses
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.messages import list_some, printable
from rednet.wording import count

ASSUMED = "assumed: "


def list_notes(checkpoint: Checkpoint) -> list[str]:
    """Return lines on decisions about a file's weights; none if there was nothing to decide."""
    return [*_weights_notes(checkpoint), *_network_notes(checkpoint)]


def _weights_notes(checkpoint: Checkpoint) -> Iterator[str]:
    used = []
    if checkpoint.is_averaged or checkpoint.other_keys:
        key = printable(checkpoint.weights_key or checkpoint.prefix or "all tensors")
        averaged = ", averaged over training steps" if checkpoint.is_averaged else ""
        others = f", not {list_some(checkpoint.other_keys)}" if checkpoint.other_keys else ""
        used.append(f"uses {key}{averaged}{others}")
    if checkpoint.prefix:
        used.append(f"removes the prefix {printable(checkpoint.prefix)}")
    if checkpoint.dropped_parts:
        used.append(f"leaves out {list_some(checkpoint.dropped_parts)}")
    if used:
        yield f"weights: {'; '.join(used)}"
    broken = sum(not torch.isfinite(tensor).all() for tensor in checkpoint.state_dict.values())
    if broken:
        yield f"warning: {count(broken, 'tensor')} of the weights contain NaN or infinity"


def _network_notes(checkpoint: Checkpoint) -> Iterator[str]:
    guesses = _describe_guesses(checkpoint)
    if guesses:
        yield f"{ASSUMED}{guesses}"


def _describe_guesses(checkpoint: Checkpoint) -> str:
    """Return what was assumed about an inferred network, separated by semicolons."""
    if not checkpoint.is_inferred or checkpoint.model is None:
        return ""
    options, given = checkpoint.model["options"], checkpoint.given_options
    guesses = list_guesses(checkpoint.state_dict, options, given)
    known = {*options, *given}
    unseen = [f"{name} {value}" for name, value in UNSEEN.items() if name not in known]
    return "; ".join([*guesses, ", ".join(unseen)] if unseen else guesses)
