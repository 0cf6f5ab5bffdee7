"""What a file of weights holds, by the format that its first bytes tell; no code in it is run."""

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rednet.errors import InputError
from rednet.weights.messages import printable
from rednet.weights.pickles import ArrayUnpickler, UnsafeError, torch_globals
from rednet.weights.safetensors_file import is_safetensors, read_safetensors

HEAD_BYTES = 64
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
OLD_TORCH = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+) was not an allowed")


@contextmanager
def one_line_errors(label: str) -> Iterator[None]:
    """Turns whatever goes wrong with a file of weights into one line about it.

    Args:
        label: How error messages call the file.

    Raises:
        InputError: Something went wrong.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
    except UnsafeError as error:
        raise InputError(
            f"{label}: cannot be loaded safely (it holds more than tensors and plain values: "
            f"{printable(str(error))}); save its state dict alone with torch.save"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{label}: damaged or cut short, or no checkpoint at all") from error


def read_content(path: Path) -> tuple[str, Any]:
    """Reads a file of weights.

    Returns:
        Its format ("torch", "pickle" or "safetensors") and what it holds: tensors and plain values
        or, of a pickle, arrays (`rednet.weights.pickles.Array`).

    Raises:
        InputError: It is missing or of another program.
        UnsafeError: It is not safe to load.
        Exception: It is damaged.
    """
    head = _read_head(path)
    if head.startswith(ZIP):
        return "torch", _read_torch_zip(path)
    if OLD_TORCH in head:
        return "torch", _read_torch(path)
    if head.startswith(PICKLE):
        return "pickle", _read_pickle(path)
    if is_safetensors(head):
        return "safetensors", read_safetensors(path)
    raise ValueError("no known format")


def _read_head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError("is a folder; give the name of a file")
        if not path.is_file():
            raise InputError("no such file")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        file.seek(-len(pickle.STOP), os.SEEK_END)
        if file.read() != pickle.STOP:
            raise EOFError("cut short, perhaps within a name")
        file.seek(0)
        return ArrayUnpickler(file).load()


def _read_torch_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
    names = {member.filename.rpartition("/")[2] for member in members}
    if "data.pkl" not in names:
        raise InputError("a zip file, but not one of torch.save")
    if "constants.pkl" in names:
        raise InputError("a TorchScript program; save the network's state dict with torch.save")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InputError("a compressed zip file, which torch.save never writes; save it anew")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("parts that overlap")
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
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = REFUSED_BY_TORCH.search(str(error))
        raise UnsafeError(found[1] if found else "something unknown to torch.load") from error


def _check_sums(path: Path) -> None:
    """Raises ValueError for bytes that changed, which torch does not notice; ours have the sums."""
    with zipfile.ZipFile(path) as file:
        if file.testzip() is not None:
            raise ValueError("a wrong check sum")
