"""Describe a file of weights."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rednet import cli
from rednet.commands.export import UNUSED
from rednet.config import InfoConfig
from rednet.errors import InputError
from rednet.label_rows import format_rows, terminal_width
from rednet.models.variants import LAYERS
from rednet.program import announce, announce_torch, say
from rednet.wording import count, join_names

KINDS = {
    "rednet": "checkpoint of this project",
    "rednet-safetensors": "safetensors of this project, with a description in the header",
    "openmmlab": "OpenMMLab (mmcls, mmpretrain, mmdet), as the original repository",
    "paddle": "PaddleClas or ppim",
    "timm": "training checkpoint of timm, or of a program with the same keys",
    "hub": "folder for timm and the Hugging Face Hub: model.safetensors with config.json",
    "safetensors": "safetensors of another program",
    "state-dict": "state dict, or a checkpoint of another program",
}
SOURCES = {
    "file": "named in the file",
    "tensors": "inferred from the tensors",
    "user": "as model=... says",
}
UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))
SHOWN_CLASSES = 5
SHOWN_VALUES = 24
MAX_CHARACTERS = 1200
"""Length of a row."""

Row = tuple[str, str]


def info(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("info", _info, argv, unused=UNUSED)


def _info(config: InfoConfig, explicit_keys: Collection[str]) -> None:
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the file to describe")
    announce_torch()
    from rednet.build.inspection import inspect_file

    announce("reading the file")
    facts = inspect_file(config)
    if config.format == "json":
        print(json.dumps(facts, indent=1, allow_nan=False))
        return
    rows = [(label, _cut(text)) for label, text in _rows(facts)]
    for line in format_rows(rows, terminal_width()):
        say(line)


def _rows(facts: Mapping[str, Any]) -> Iterator[Row]:
    """Yield label and text of each row."""
    file = facts["file"]
    yield "file", file["path"]
    version = f", format {file['format']}" if file["format"] else ""
    yield "kind", f"{KINDS.get(file['kind'], file['kind'])}{version}"
    yield "size", f"{file['bytes']:,} bytes, sha256 {file['sha256'][:16]}..."
    yield from _network_rows(facts)
    yield "classes", _describe_classes(facts["classes"])
    yield from _image_rows(facts["images"])
    if facts["metrics"]:
        yield "metrics", _describe_values(facts["metrics"])
    for each in facts["weights"]:
        yield "weights", _describe_set(each)
    yield from _training_rows(facts)
    for note in facts["notes"]:
        yield "note", note
    if facts["missing"]:
        yield "not in the file", ", ".join(facts["missing"])


def _network_rows(facts: Mapping[str, Any]) -> Iterator[Row]:
    network = facts["network"]
    if network is None:
        numbers = next(each["numbers"] for each in facts["weights"] if each["used"])
        hint = "no RedNet, and the file does not name a network; model=... says which it is for"
        yield "network", f"unknown: {hint}"
        yield "parameters", f"unknown; the weights have {numbers:,} numbers"
        return
    options = ", ".join(f"{name}={value}" for name, value in network["options"].items())
    head = "" if network["classifier"] else ", without classifier"
    yield "network", f"{network['name']}{head}, {SOURCES[network['source']]}"
    yield "options", options or "none: all have their defaults"
    if "problem" in network:
        yield "problem", network["problem"]
        return
    yield "parameters", f"{network['parameters']:,}"
    image = "x".join(map(str, network["image"]))
    if "image_size" not in facts["images"]["preprocessing"]:
        image += ", a size that the file does not say"
    if "uncounted" in network:
        yield "FLOPs", f"not counted for {image}: {network['uncounted']}"
        return
    flops = ""
    if network["name"] in LAYERS:  # the publications' convention leaves out matrix products
        flops = f"{_shorten(network['flops'])} as publications count, "
    yield "FLOPs", f"{flops}{_shorten(network['macs'])} multiply-adds for an image of {image}"


def _describe_classes(classes: Mapping[str, Any]) -> str:
    number, names, source = (classes[key] for key in ("number", "names", "source"))
    if number == 0:
        return "none: the network ends with its features"
    if number is None and names is None:
        return "unknown"
    shown = f"{len(names) if number is None else number:,}"
    if names is None:
        return f"{shown}, without names"
    labels = [label or name for label, name in zip(classes["labels"], names, strict=True)]
    listed = join_names(labels, SHOWN_CLASSES)
    return f"{shown}: {listed}" + ("" if source == "file" else f" ({source})")


def _image_rows(images: Mapping[str, Any]) -> Iterator[Row]:
    known, text = images["preprocessing"], _describe_values(images["preprocessing"])
    if not known:
        yield "images", "unknown: the file does not say how they are prepared"
    elif images["source"] == "file":
        yield "images", text
    else:
        yield "images", f"{text} ({images['source']})"
    if known and images["missing"]:
        yield "images", f"unknown: {', '.join(images['missing'])}"
    for note in images["notes"]:
        yield "note", note


def _describe_set(each: Mapping[str, Any]) -> str:
    averaged = ", averaged over training steps" if each["averaged"] else ""
    used = "" if each["used"] else ", not used"
    dtypes = " and ".join(each["dtypes"])
    return (
        f"{each['key']}: {count(each['tensors'], 'tensor')}, {each['numbers']:,} numbers, "
        f"{dtypes}, {_shorten(each['bytes'])}B{averaged}{used}"
    )


def _training_rows(facts: Mapping[str, Any]) -> Iterator[Row]:
    state, config, data = facts["training"], facts["config"], facts["data"]
    if state is not None:
        counters = {key: state[key] for key in state if key not in ("optimizers", "resumable")}
        if counters:
            yield "training", _describe_values(counters)
        for each in state["optimizers"]:
            yield "optimizer", _describe_optimizer(each)
        resumable = state["resumable"]
        yield "resume", "yes, by train.py" if resumable is True else f"no: {resumable}"
    if config is not None:
        yield "config", ", ".join(config)
    if data:
        splits = (f"{count(number, f'{name} image')}" for name, number in data["samples"].items())
        yield "data", f"{data['name']}: {', '.join(splits)}"
    if facts["versions"]:
        yield "versions", _describe_values(facts["versions"], sign=" ")
    elif facts["values"] and facts["file"]["format"] is None:  # a file of ours has rows for all
        values = dict(list(facts["values"].items())[:SHOWN_VALUES])
        more = len(facts["values"]) - len(values)
        rest = f", and {more} more with format=json" if more else ""
        yield "values", _describe_values(values) + rest
    if facts["keys"] and facts["file"]["format"] is None:
        yield "keys", ", ".join(f"{key} ({kind})" for key, kind in facts["keys"].items())


def _describe_optimizer(optimizer: Mapping[str, Any]) -> str:
    key = optimizer["key"]
    if not optimizer["parameters"]:
        return f"{key}: no state yet"
    names = ", ".join(optimizer["state"])
    parameters = count(optimizer["parameters"], "parameter")
    return f"{key}: {names} of {parameters}, {_shorten(optimizer['bytes'])}B"


def _describe_values(values: Mapping[str, Any], sign: str = "=") -> str:
    return ", ".join(f"{name}{sign}{_format(value)}" for name, value in values.items())


def _format(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_format, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    """Return the beginning of a text: what is in a file may have any length."""
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."


def _shorten(number: float) -> str:
    """Return a number with three or more digits and a unit, such as 2.69 G."""
    for unit, size in UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} "
