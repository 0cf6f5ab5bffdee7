"""Which network a checkpoint's weights are loaded into: the file's, the user's, or both merged."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from timm.models import get_arch_name

from rednet.errors import InputError
from rednet.models.variants import HIDDEN_DEFAULTS, LAYERS
from rednet.weights.checkpoint import Checkpoint, describe_model
from rednet.weights.messages import printable


def merge_options(checkpoint: Checkpoint, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a checkpoint's options with those given by the user.

    Args:
        checkpoint: The checkpoint.
        name: The network's name in timm.
        options: The user's options, which take precedence; None means not given.

    Raises:
        InputError: The checkpoint is for another network.
    """
    options = {option: value for option, value in options.items() if value is not None}
    if checkpoint.model is None:
        return options
    saved_name, saved = get_arch_name(checkpoint.model["name"]), checkpoint.model["options"]
    name = get_arch_name(name)
    saved_layers = saved.get("layers", LAYERS.get(saved_name))
    layers = options.get("layers", saved_layers if name == saved_name else LAYERS.get(name))
    if name != saved_name or "layers" in options:  # networks of equal depth have many names
        if saved_layers is None or layers is None or list(saved_layers) != list(layers):
            given = {"layers": layers} if "layers" in options else {}
            raise InputError(
                f"{checkpoint.label} is for {checkpoint.describe_network()}, not for "
                f"{describe_model(name, given)}"
            )
        options = {**options, "layers": layers}
    require_same_unseen(checkpoint, options)
    return {**saved, **options}


def require_same_unseen(checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
    """Refuse other values of options that a file knows, but that its tensors would not show.

    Raises:
        InputError: An option has another value than in the file.
    """
    assert checkpoint.model is not None
    saved = checkpoint.model["options"]
    if checkpoint.is_inferred or get_arch_name(checkpoint.model["name"]) not in LAYERS:
        return
    for name, default in HIDDEN_DEFAULTS.items():
        if name in options and _plain(options[name]) != _plain(saved.get(name, default)):
            raise InputError(
                f"{checkpoint.label} is for {checkpoint.describe_network()}, not for "
                f"{name}={printable(str(options[name]))}"
            )


def _plain(value: Any) -> Any:
    """Return an option's value; a layer may be given as its class, too."""
    name = getattr(value, "__name__", value)
    return name.lower() if isinstance(name, str) else value


def override_network(checkpoint: Checkpoint, name: str, options: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint with the network that the user names, see `merge_options`."""
    network = {"name": name, "options": merge_options(checkpoint, name, options)}
    given = frozenset(option for option, value in options.items() if value is not None)
    return replace(
        checkpoint,
        model=network,
        file_model=checkpoint.model,
        is_silent=checkpoint.model is None,
        given_options=given,
    )


def require_network(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return name and options of a checkpoint's network; raise InputError if unknown."""
    if checkpoint.model is None:
        raise InputError(
            f"{checkpoint.label} does not say which network it is for: add e.g. model=rednet50, "
            'or model=timm model.name=resnet50 (in Python model="resnet50")'
        )
    return checkpoint.model
