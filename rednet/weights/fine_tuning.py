"""Start training from the weights of a file: the network's classes and channels are the data's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from timm.models import adapt_input_conv
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.loading import head_names, load_weights, with_names_of
from rednet.weights.messages import printable

_UNNAMED = "its classifier is kept: it names no classes; they must be the data's, in the same order"


def start_from(model: nn.Module, checkpoint: Checkpoint, class_names: Sequence[str]) -> list[str]:
    """Load a checkpoint's weights into a network that will be trained on other data.

    The first convolution is adapted to the network's image channels. The classifier is kept if the
    checkpoint has the same classes, put into the data's order; otherwise it stays as initialised.

    Args:
        model: A timm model.
        checkpoint: The checkpoint.
        class_names: Names of the data's classes, in the order of the network's outputs.

    Returns:
        What was adapted, kept or left as initialised, one line each.

    Raises:
        InputError: The weights do not fit.
    """
    checkpoint = with_names_of(model.state_dict(), checkpoint)
    weights, notes = adapt_input(model, checkpoint)
    head = [name for name in head_names(model) if name in weights]
    theirs, ours = checkpoint.class_names, list(class_names)
    is_comparable = bool(head) and theirs is not None and len(theirs) == len(ours)
    if is_comparable and theirs != ours:
        order = _positions(theirs or [], ours)
        if order is None:
            weights = {name: tensor for name, tensor in weights.items() if name not in head}
            notes.append("its classes are not the data's: the classifier is newly initialised")
        else:
            weights |= {name: weights[name][order] for name in head}
            notes.append("its classes are the data's in another order: the classifier is reordered")
    note = load_weights(model, replace(checkpoint, state_dict=weights), new_head=True)
    if not is_comparable:
        notes.append(note.removeprefix(f"{checkpoint.label}: ") if note else _UNNAMED)
    return notes


def _positions(theirs: Sequence[str], ours: Sequence[str]) -> list[int] | None:
    """Return the position of each of our classes among theirs, None if some are not there."""
    positions = {name: index for index, name in enumerate(theirs)}
    if len(positions) < len(theirs) or not positions.keys() >= set(ours):
        return None
    return [positions[name] for name in ours]


def adapt_input(model: nn.Module, checkpoint: Checkpoint) -> tuple[dict[str, Tensor], list[str]]:
    """Adapt the weights of the first convolution to a network's image channels, as timm does.

    Returns:
        All weights of the checkpoint, and lines about what was adapted.

    Raises:
        InputError: timm cannot adapt this convolution.
    """
    weights, notes = dict(checkpoint.state_dict), []
    expected = model.state_dict()
    for layer in _first_convolutions(model):
        name = f"{layer}.weight"
        if name not in weights or name not in expected or not _differs(weights, expected, name):
            continue
        theirs, ours = weights[name].shape[1], expected[name].shape[1]
        try:
            weights[name] = adapt_input_conv(ours, weights[name], theirs)
        except (NotImplementedError, AssertionError) as error:
            raise InputError(
                f"{checkpoint.label}: {printable(name)} cannot be adapted from {theirs} to {ours} "
                f"image channels: {error}"
            ) from error
        notes.append(f"{printable(layer)} is adapted from {theirs} to {ours} image channels")
    return weights, notes


def _first_convolutions(model: nn.Module) -> tuple[str, ...]:
    names = getattr(model, "pretrained_cfg", {}).get("first_conv") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _differs(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> bool:
    """Whether two convolutions differ in their input channels, and in nothing else."""
    theirs, ours = weights[name].shape, expected[name].shape
    return (
        len(theirs) == 4 and theirs[1] != ours[1] and theirs[:1] + theirs[2:] == ours[:1] + ours[2:]
    )
