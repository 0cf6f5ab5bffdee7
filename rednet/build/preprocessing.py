"""Decide how images are prepared: by the user, by a file of weights, by timm, or by the data."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg, resolve_pretrained_cfg, split_model_name_tag

from rednet.config import Data, Model
from rednet.data import Preprocessing
from rednet.data.transforms import INTERPOLATIONS
from rednet.errors import InputError
from rednet.models.variants import LAYERS
from rednet.weights import Checkpoint, count_channels, require_network
from rednet.wording import count

KEYS = tuple(field.name for field in fields(Preprocessing))
NORMALIZATION = ("mean", "std")


def build_preprocessing(
    data: Data | Preprocessing,
    known: Mapping[str, Any] | None = None,
    explicit_keys: Collection[str] = (),
    *,
    in_chans: int | None = None,
) -> Preprocessing:
    """Build the preprocessing that evaluation applies to images.

    Args:
        data: Configuration of the data, or another preprocessing.
        known: Preprocessing that belongs to the weights, if any; it takes precedence over `data`.
            It may be incomplete.
        explicit_keys: Dotted keys that the user set; they take precedence over `known`.
        in_chans: Image channels of the network; `known` keeps its mean and std only if they are for
            as many. By default any number will do.
    """
    known = dict(known or {})
    explicit = {name for name in KEYS if f"data.{name}" in explicit_keys}
    # Mean and std belong together: where their number is fixed to another one, both are left out.
    fixed = len(data.mean) if explicit & {*NORMALIZATION} else in_chans
    if fixed not in (None, len(known.get("mean", ()))):
        known = {name: value for name, value in known.items() if name not in NORMALIZATION}
    return Preprocessing(
        **{
            name: known[name] if name in known and name not in explicit else getattr(data, name)
            for name in KEYS
        }
    )


def preprocessing_of_weights(
    checkpoint: Checkpoint | None, network: Model
) -> tuple[dict[str, Any], list[str]]:
    """Return the preprocessing that belongs to pretrained weights, as far as it is known.

    The file of a RedNet says it, or nobody does; for other networks timm's `pretrained_cfg` does
    where the file is silent.

    Args:
        checkpoint: The file of the weights; None if timm loads them.
        network: The network.

    Returns:
        Values by the names of `Preprocessing`, and lines about what cannot be followed.
    """
    if checkpoint is not None and checkpoint.preprocessing is not None:
        return checkpoint.preprocessing, []
    return _preprocessing_of_timm(network)


def preprocessing_of_file(checkpoint: Checkpoint) -> tuple[dict[str, Any], list[str]]:
    """Return `preprocessing_of_weights` for the network that a file is for.

    Raises:
        InputError: The network is unknown.
    """
    return preprocessing_of_weights(checkpoint, Model(**require_network(checkpoint)))


def require_channels(checkpoint: Checkpoint, preprocessing: Preprocessing) -> None:
    """Raise InputError if the network takes images of other channels than are prepared."""
    channels = count_channels(checkpoint)
    if channels not in (None, preprocessing.in_chans):
        raise InputError(
            f"{checkpoint.label}: takes images with {count(channels, 'channel')}, but data.mean "
            f"and data.std have {count(preprocessing.in_chans, 'number')}: give {channels} each"
        )


def _preprocessing_of_timm(network: Model) -> tuple[dict[str, Any], list[str]]:
    name, tag = split_model_name_tag(network.name)
    if get_pretrained_cfg(name) is None or name in LAYERS:
        return {}, []
    options = network.options
    given = options.get("pretrained_cfg") or tag
    cfg = resolve_pretrained_cfg(name, given, options.get("pretrained_cfg_overlay"))
    config = resolve_data_config({}, cfg.to_dict())
    height, width = _image_size(options.get("img_size")) or config["input_size"][1:]
    values = {
        "image_size": height,
        **{key: config[key] for key in ("crop_pct", "interpolation", *NORMALIZATION)},
    }
    notes = []
    if height != width:
        del values["image_size"]
        notes.append(f"{network.name} is for images of {height}x{width}; here they are square")
    if values["interpolation"] not in INTERPOLATIONS:
        notes.append(f"{network.name} is for interpolation={values.pop('interpolation')}")
    if config["crop_mode"] != "center":
        notes.append(f"{network.name} is for crop_mode={config['crop_mode']}; here it is center")
    return values, [f"warning: {note}" for note in notes]


def _image_size(option: Any) -> tuple[int, int] | None:
    """Return height and width from timm's option `img_size`, if it is given."""
    if isinstance(option, int):
        return option, option
    return (option[0], option[1]) if isinstance(option, list | tuple) and len(option) == 2 else None
