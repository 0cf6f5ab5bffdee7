"""Read files of weights, whose format the first bytes tell, without running code from them."""

import io
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
from rednet.weights.bounds import MAX_HEADER_BYTES, require_bounded
from rednet.weights.messages import printable
from rednet.weights.pickles import ArrayUnpickler, UnsafeError, torch_globals
from rednet.weights.safetensors_file import is_safetensors, read_safetensors
from rednet.weights.torch_pickles import rehearse

HEAD_BYTES = 64
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
LEGACY_TORCH = re.compile(
    rb"\x80.\x8a\n" + re.escape((0x1950A86A20F9469CFC6C).to_bytes(10, "little")), re.DOTALL
)
LEGACY_PICKLES = 5
"""Magic number, protocol, system, content and keys of the storages, each a pickle."""
REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+) was not an allowed")


@contextmanager
def one_line_errors(label: str) -> Iterator[None]:
    """Turn every error while a file of weights is read into one line about the file.

    Args:
        label: Name of the file in error messages.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
    except UnsafeError as error:
        raise InputError(
            f"{label}: cannot be loaded safely: it contains {printable(str(error))}, not only "
            "tensors and plain values; save only its state dict with torch.save"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{label}: damaged, truncated or not a checkpoint") from error


def read_content(path: Path) -> tuple[str, Any]:
    """Read a file of weights, whose content is bounded in depth and size, see `bounds`.

    Returns:
        The format ("torch", "pickle" or "safetensors") and the content: tensors and plain values;
        a pickle has `rednet.weights.pickles.Array` instead of tensors.

    Raises:
        InputError: The file is missing or in a format of another program.
        UnsafeError: The file is not safe to load.
        Exception: The file is damaged.
    """
    file_format, content = _read(path)
    require_bounded(content)
    return file_format, content


def _read(path: Path) -> tuple[str, Any]:
    head = _read_head(path)
    if head.startswith(ZIP):
        return "torch", _read_torch_zip(path)
    if LEGACY_TORCH.match(head):
        with path.open("rb") as file:
            rehearse(file, LEGACY_PICKLES, path.stat().st_size)
        return "torch", _read_torch(path)
    if is_safetensors(head):  # first, since its length may begin with the byte of a pickle
        return "safetensors", read_safetensors(path)
    if head.startswith(PICKLE):
        return "pickle", _read_pickle(path)
    raise ValueError("unknown format")


def _read_head(path: Path) -> bytes:
    try:
        if path.is_dir():
            best = path / "checkpoints" / "best.pt"
            hint = "; only one with model.safetensors, as for timm, can be read"
            if best.is_file():
                hint = f"; the best epoch of this run is {best}"
            raise InputError(f"is a folder, not a file{hint}")
        if not path.is_file():
            raise InputError("no such file")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        # A file cut off within a name would otherwise be refused as unsafe, for that name.
        file.seek(-len(pickle.STOP), os.SEEK_END)
        if file.read() != pickle.STOP:
            raise EOFError("truncated")
        file.seek(0)
        return ArrayUnpickler(file).load()


def _read_torch_zip(path: Path) -> Any:
    with _ShortReads(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    names = {member.filename.rpartition("/")[2] for member in members}
    if "data.pkl" not in names:
        raise InputError("is a zip file that torch.save did not write")
    if "constants.pkl" in names:
        raise InputError("is a TorchScript program; save its state dict with torch.save instead")
    # A few compressed bytes, or members that share their bytes, could fill all memory.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InputError("is a compressed zip file; save it again with torch.save")
    if any(
        member.filename.endswith("data.pkl") and member.file_size > MAX_HEADER_BYTES
        for member in members
    ):
        raise ValueError("too large a description")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("overlapping members")
    # The reader of torch.load, since others may find another of two members with equal names.
    instructions = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
    rehearse(io.BytesIO(instructions), 1, path.stat().st_size)
    content = _read_torch(path)
    if isinstance(content, dict) and "format" in content:
        _verify_checksums(path)
    return content


class _ShortReads(io.FileIO):
    """A file that refuses long reads: `zipfile` reads the list of all members at once."""

    def read(self, size: int | None = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else size
        if wanted > MAX_HEADER_BYTES:
            raise ValueError("too large a list of members")
        return super().read(wanted) or b""


def _read_torch(path: Path) -> Any:
    try:
        with (
            path.open("rb") as file,  # given a path, torch.load would look at its suffix
            warnings.catch_warnings(action="ignore"),  # about pickles that torch then refuses
            torch.serialization.safe_globals(list(torch_globals())),
        ):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = REFUSED_BY_TORCH.search(str(error))
        raise UnsafeError(found[1] if found else "objects unknown to torch.load") from error


def _verify_checksums(path: Path) -> None:
    """Raise ValueError if bytes have changed, which torch.load does not notice."""
    with zipfile.ZipFile(path) as file:
        if file.testzip() is not None:
            raise ValueError("wrong checksum")
