"""What a file of weights holds, by the format that its first bytes tell; no code in it is run."""

import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from rednet.errors import InputError
from rednet.models.weights.pickles import ArrayUnpickler, UnsafeError, torch_globals
from rednet.models.weights.safetensors_file import is_safetensors, read_safetensors

HEAD_BYTES = 64
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
OLD_TORCH = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+) was not an allowed")


def read_content(path: Path, label: str) -> tuple[str, Any]:
    """Reads a file of weights.

    Args:
        path: The file.
        label: How error messages call it.

    Returns:
        Its format ("torch", "pickle" or "safetensors") and what it holds: tensors and plain values
        or, of a pickle, arrays (`rednet.models.weights.pickles.Array`).

    Raises:
        InputError: It is missing, damaged, of no known format, or not safe to load.
    """
    if not path.is_file():
        raise InputError(f"{label}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{label}: cannot be read: {error.strerror}") from error
    try:
        return _read(path, head)
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
    except UnsafeError as error:
        raise InputError(
            f"{label}: cannot be loaded safely (it holds more than tensors and plain values: "
            f"{error}); save its state dict alone with torch.save"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{label}: damaged or cut short, or no checkpoint at all") from error


def _read(path: Path, head: bytes) -> tuple[str, Any]:
    if head.startswith(ZIP):
        return "torch", _read_torch_zip(path)
    if OLD_TORCH in head:
        return "torch", _read_torch(path)
    if head.startswith(PICKLE):
        return "pickle", _read_pickle(path)
    if is_safetensors(head):
        return "safetensors", read_safetensors(path)
    raise ValueError("no known format")


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        file.seek(-len(pickle.STOP), os.SEEK_END)
        if file.read() != pickle.STOP:
            raise EOFError("cut short, perhaps within a name")
        file.seek(0)
        return ArrayUnpickler(file).load()


def _read_torch_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as file:
        names = {name.rpartition("/")[2] for name in file.namelist()}
    if "data.pkl" not in names:
        raise InputError("a zip file, but not one of torch.save")
    if "constants.pkl" in names:
        raise InputError("a TorchScript program; save the network's state dict with torch.save")
    content = _read_torch(path)
    if isinstance(content, dict) and "format" in content:
        _check_sums(path)
    return content


def _read_torch(path: Path) -> Any:
    try:
        with (
            path.open("rb") as file,  # of a path, torch.load would look at the suffix
            warnings.catch_warnings(action="ignore"),  # of pickles that torch then refuses
            torch.serialization.safe_globals(list(torch_globals())),
        ):
            return _without_attributes(torch.load(file, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        found = REFUSED_BY_TORCH.search(str(error))
        raise UnsafeError(found[1] if found else "something unknown to torch.load") from error


def _without_attributes(content: Any) -> Any:
    """Plain dictionaries for ordered ones, whose methods a pickle may have hidden by attributes."""
    if not isinstance(content, dict):
        return content
    return {
        name: dict(dict.items(value)) if isinstance(value, OrderedDict) else value
        for name, value in dict.items(content)
    }


def _check_sums(path: Path) -> None:
    """Raises ValueError for bytes that changed, which torch does not notice; ours have the sums."""
    with zipfile.ZipFile(path) as file:
        if file.testzip() is not None:
            raise ValueError("a wrong check sum")
