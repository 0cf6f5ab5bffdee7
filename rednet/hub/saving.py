"""Write a network as a folder for timm and the Hugging Face Hub."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from timm.models._hub import save_config_for_hf
from torch import nn

from rednet.build.inference import name_classes
from rednet.build.preprocessing import preprocessing_of_file
from rednet.data import english_names
from rednet.errors import InputError
from rednet.files import write_atomically
from rednet.hub.card import Card, write_card
from rednet.program import say
from rednet.weights import (
    OURS,
    Checkpoint,
    list_notes,
    override_network,
    read_checkpoint,
    require_network,
    restore_model,
)
from rednet.weights.hub_config import CONFIG, WEIGHTS, describe_hub
from rednet.weights.preprocessing import is_preprocessing
from rednet.weights.safetensors_file import encode_safetensors
from rednet.wording import printable

CARD = "README.md"
ABOUT_OTHER_WEIGHTS = ("license", "origin_url", "description", "tag", "notes", "label_descriptions")
"""Entries of timm's configuration of a network that describe the weights which timm offers."""


def save_for_hub(
    source: str | PathLike[str] | nn.Module,
    folder: str | PathLike[str],
    *,
    model: str | None = None,
    model_options: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    license: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write ``config.json``, ``model.safetensors`` and a model card ``README.md``.

    ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads them, and after an upload
    ``"hf-hub:USER/NAME"``. The programs that do so import `rednet` first, if it is a RedNet.

    Args:
        source: File of weights of any kind that `evaluate` reads, or a network that
            `timm.create_model` has made.
        folder: The folder; its other files stay as they are.
        model: Name of the network, if the file does not say it.
        model_options: Options of the network that the file does not say.
        class_names: Name of each output; by default those of the file.
        license: Licence of the weights for the card, such as "apache-2.0"; by default none is
            stated.
        overwrite: Whether to replace the three files.
        quiet: Whether not to print what was assumed, and where the files are.

    Raises:
        InputError: The file cannot be read, or the folder cannot be written.
    """
    folder = Path(folder)
    _require_free(folder, overwrite)
    _require_names(class_names)
    if isinstance(source, nn.Module):
        if model is not None or model_options:
            raise InputError("model, model_options: have no effect on a network, only on a file")
        network, described, notes = _from_network(source, folder / WEIGHTS, class_names)
    else:
        checkpoint = _open(fspath(source), model, model_options or {}, class_names)
        network, described, notes = _from_file(checkpoint)
    known = described.content if described.kind in OURS else {}
    card = Card(
        network=described.describe_network(),
        class_names=described.class_names or (),
        data=(known.get("data") or {}).get("name"),
        metrics=known.get("metrics") or {},
        notes=notes,
        license=license,
    )
    # timm knows how to prepare images for a network that it has made.
    data = {} if network is source else _data_config(described.preprocessing or {})
    _write(network, folder, described, data, card)
    if not quiet:
        _report(folder, notes, described)


def _open(
    path: str,
    model: str | None,
    options: Mapping[str, Any],
    class_names: Sequence[str] | None,
) -> Checkpoint:
    checkpoint = read_checkpoint(path, key="source")
    if model is not None:
        checkpoint = override_network(checkpoint, model, options)
    elif options:
        raise InputError("model_options: name the network, too: model=...")
    require_network(checkpoint)
    return checkpoint if class_names is None else replace(checkpoint, class_names=[*class_names])


def _from_file(checkpoint: Checkpoint) -> tuple[nn.Module, Checkpoint, list[str]]:
    known, notes = preprocessing_of_file(checkpoint)
    network = restore_model(checkpoint)
    names, assumed = name_classes(checkpoint, getattr(network, "num_classes", 0))
    # Numbers instead of names would only repeat the index of an output.
    is_numbered = checkpoint.class_names is None and not all(english_names(names))
    described = replace(
        checkpoint,
        state_dict=network.state_dict(),
        preprocessing=known if is_preprocessing(known) else None,
        class_names=None if is_numbered else names,
    )
    return network, described, [*list_notes(checkpoint), *notes, *assumed]


def _from_network(
    network: nn.Module, path: Path, class_names: Sequence[str] | None
) -> tuple[nn.Module, Checkpoint, list[str]]:
    cfg = getattr(network, "pretrained_cfg", None)
    if not cfg or not cfg.get("architecture") or not hasattr(network, "_model_args"):
        raise InputError("save_for_hub: takes a file, or a network made by timm.create_model")
    outputs = getattr(network, "num_classes", 0)
    names = cfg.get("label_names") if class_names is None else class_names
    if class_names is None and len(names or ()) != outputs:
        names = None  # those of the weights before the network got another classifier
    if names is not None and len(names) != outputs:
        raise InputError(f"class_names: {len(names)} names for {outputs} outputs")
    description = describe_hub(json.loads(_config_text(network, {}, {})))
    described = Checkpoint(
        path, "hub", {}, network.state_dict(), num_classes=outputs, **description
    )
    return network, replace(described, class_names=[*names] if names else None), []


def _report(folder: Path, notes: Sequence[str], described: Checkpoint) -> None:
    for note in notes:
        say(note)
    path = fspath(folder)
    say(
        f"{path}: wrote {CONFIG}, {WEIGHTS} and {CARD} for {described.describe_network()}; "
        f"timm.create_model({f'local-dir:{path}'!r}, pretrained=True) loads them"
    )


def _data_config(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preprocessing by timm's names."""
    data = dict(known)
    if "image_size" in data:
        data["img_size"] = data.pop("image_size")
    if data.get("interpolation") == "opencv":
        data["interpolation"] = "bilinear"  # timm resizes with Pillow only
    return {**data, "crop_mode": "center"} if data else {}


def _require_names(names: Sequence[str] | None) -> None:
    if names is not None and (isinstance(names, str) or not all(isinstance(n, str) for n in names)):
        raise InputError("class_names: must be a list of texts, one for each output")


def _write(
    network: nn.Module, folder: Path, described: Checkpoint, data: Mapping[str, Any], card: Card
) -> None:
    names = list(card.class_names)
    labels = english_names(names)
    config: dict[str, Any] = {"label_names": names} if names else {}
    if names and all(labels):
        config["label_descriptions"] = dict(zip(names, labels, strict=True))
    text = _config_text(network, config, data)
    weights = encode_safetensors(described)
    try:
        write_atomically(folder / WEIGHTS, lambda file: file.write(weights))
        write_atomically(folder / CARD, lambda file: file.write(write_card(card, text).encode()))
        write_atomically(folder / CONFIG, lambda file: file.write(text.encode()))
    except OSError as error:
        raise InputError(
            f"folder={printable(folder)}: cannot be written: {error.strerror}"
        ) from error


def _config_text(network: nn.Module, config: dict[str, Any], data: Mapping[str, Any]) -> str:
    """Return timm's description of a network, without what is true of other weights only."""
    with TemporaryDirectory() as folder:
        path = Path(folder, CONFIG)
        try:
            save_config_for_hf(network, str(path), model_config=config, data_config=dict(data))
        except ValueError as error:  # such as an activation that was given as a class
            raise InputError(f"save_for_hub: {error}") from error
        content = json.loads(path.read_text())
    cfg = content["pretrained_cfg"]
    content["pretrained_cfg"] = {
        name: value for name, value in cfg.items() if name not in ABOUT_OTHER_WEIGHTS
    }
    return json.dumps(content, indent=2) + "\n"


def _require_free(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"folder={printable(folder)}: is a file, not a folder")
    found = [name for name in (CONFIG, WEIGHTS, CARD) if (folder / name).exists()]
    if found and not overwrite:
        raise InputError(
            f"folder={printable(folder)}: has {', '.join(found)}; overwrite=True replaces them"
        )
