"""Everything that is known about a file of weights, as plain values."""

import argparse
import re
from collections.abc import Mapping
from hashlib import file_digest
from typing import Any

from torch import nn

import rednet.registry  # noqa: F401 (registers the names with timm)
from rednet.build.contents import (
    as_json,
    describe_state,
    list_keys,
    list_values,
    list_weights,
    read_config,
)
from rednet.build.preprocessing import KEYS, preprocessing_of_file
from rednet.config import InfoConfig
from rednet.data import english_names, imagenet_synsets
from rednet.errors import InputError
from rednet.paper.complexity import count_complexity_on_meta
from rednet.weights import (
    OURS,
    Checkpoint,
    build_empty,
    count_channels,
    list_notes,
    num_classes_and_in_chans,
    override_network,
    read_checkpoint,
)
from rednet.weights.checkpoint import DESCRIBED

IMAGE_SIZE = 224
"""Size of the images for which operations are counted where the file does not say one."""
CHANNELS = 3
METRIC = re.compile(r"(?!args\.).*(metric|acc|top1|loss)")
"""Matches the names of the metrics that other programs store."""
CONFIGURATIONS = ("args", "meta", "hyper_parameters")
"""Keys under which other programs store how a network was trained."""


def inspect_file(config: InfoConfig) -> dict[str, Any]:
    """Read a file of weights and return all that is known about it, as JSON can hold it.

    Raises:
        InputError: The file cannot be read, or is for another network than the user's.
    """
    assert config.checkpoint is not None
    checkpoint = read_checkpoint(config.checkpoint)
    if config.model is not None:
        checkpoint = override_network(checkpoint, config.model.name, config.model.options)
        build_empty(checkpoint)  # the user's network must fit
    source = "tensors" if checkpoint.is_inferred else "file"
    return as_json(_inspect(checkpoint, source if config.model is None else "user"))


def _inspect(checkpoint: Checkpoint, source: str) -> dict[str, Any]:
    """Return all that is known about a file; `source` is who names its network."""
    content = checkpoint.content
    images = _describe_images(checkpoint)
    facts = {
        "file": _describe_file(checkpoint),
        "network": _describe_network(checkpoint, images["preprocessing"], source),
        "classes": _describe_classes(checkpoint),
        "images": images,
        "metrics": content.get("metrics") if checkpoint.kind in OURS else None,
        "weights": list_weights(checkpoint),
        "training": describe_state(checkpoint),
        "config": read_config(checkpoint),
        "data": _describe_data(checkpoint),
        "versions": content.get("versions") if checkpoint.kind in OURS else None,
        "values": list_values(content),
        "keys": list_keys(checkpoint),
        "notes": list_notes(checkpoint),
    }
    return {**facts, "missing": _list_missing(facts)}


def _describe_data(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return the name of a run's data and the number of images in each split."""
    data = checkpoint.content.get("data") if checkpoint.kind in OURS else None
    if data is None:
        return None
    splits = {name: data[name]["samples"] for name in ("train", "val") if data[name]}
    return {"name": data["name"], "samples": splits}


def _describe_file(checkpoint: Checkpoint) -> dict[str, Any]:
    with checkpoint.path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    version = checkpoint.content.get("format") if checkpoint.kind in OURS else None
    return {
        "path": str(checkpoint.path),
        "kind": checkpoint.kind,
        "format": version,
        "bytes": checkpoint.path.stat().st_size,
        "sha256": digest,
    }


def _describe_network(
    checkpoint: Checkpoint, preprocessing: Mapping[str, Any], source: str
) -> dict[str, Any] | None:
    """Return name, options, source and size of a network, or why it cannot be built."""
    if checkpoint.model is None:
        return None
    network = {
        "name": checkpoint.model["name"],
        "options": checkpoint.model["options"],
        "source": source,
        "classifier": checkpoint.has_head,
    }
    try:
        return {**network, **_count(checkpoint, build_empty(checkpoint), preprocessing)}
    except InputError as error:
        return {**network, "problem": str(error)}


def count_network(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the parameters of a run's network, and its multiply-adds where they can be counted.

    Raises:
        InputError: The network cannot be built.
    """
    return _count(checkpoint, build_empty(checkpoint), checkpoint.preprocessing or {})


def _count(
    checkpoint: Checkpoint, model: nn.Module, preprocessing: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters, and the operations for one image."""
    size = preprocessing.get("image_size", IMAGE_SIZE)
    channels = count_channels(checkpoint) or len(preprocessing.get("mean", CHANNELS * [0]))
    image = [channels, size, size]
    parameters = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    try:
        found = count_complexity_on_meta(model, image)
    except Exception as error:  # a network of timm's may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        return {**parameters, "image": image, "uncounted": reason}
    return {**parameters, "image": image, "macs": found.macs, "flops": found.flops}


def _describe_classes(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the number of classes, None if unknown, their names, and where these are from."""
    names, number = checkpoint.class_names, checkpoint.num_classes
    if number is None and checkpoint.model is not None:
        number = num_classes_and_in_chans(checkpoint).get("num_classes")
    source = None if names is None else "file"
    if names is None and number == len(imagenet_synsets()):
        names, source = list(imagenet_synsets()), "assumed: ImageNet's"
    labels = english_names(names or ())
    return {"number": number, "names": names, "labels": labels, "source": source}


def _describe_images(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the preprocessing as far as it is known, where it is from, and what is missing."""
    known: dict[str, Any] = dict(checkpoint.preprocessing or {})
    notes: list[str] = []
    is_said = checkpoint.kind in DESCRIBED
    is_said = is_said or isinstance(checkpoint.content.get("args"), argparse.Namespace)
    source = "file" if is_said else "assumed: ImageNet's usual"
    if not known and checkpoint.model is not None:
        try:
            known, notes = preprocessing_of_file(checkpoint)
        except Exception as error:  # the options of a network may be anything
            notes = [f"{type(error).__name__}: {error}"]
        source = "timm's configuration of the network"
    return {
        "preprocessing": known,
        "source": source if known else None,
        "missing": [name for name in KEYS if name not in known],
        "notes": notes,
    }


def _list_missing(facts: Mapping[str, Any]) -> list[str]:
    """List what the file does not say, in plain words."""
    network, training = facts["network"], facts["training"]
    is_named = network is not None and network["source"] == "file"
    has_file_names = facts["classes"]["source"] == "file" or facts["classes"]["number"] == 0
    states = training["optimizers"] if training else []
    said = {
        "the network's name": is_named,
        "the names of the classes": has_file_names,
        "how images are prepared": facts["images"]["source"] == "file",
        "metrics": bool(facts["metrics"]) or any(map(METRIC.match, facts["values"])),
        "averaged weights": any(each["averaged"] for each in facts["weights"]),
        "the optimizer's state": any(each["parameters"] for each in states),
        "the configuration of the training": facts["config"] is not None
        or any(key in facts["keys"] for key in CONFIGURATIONS),
    }
    return [what for what, is_there in said.items() if not is_there]
