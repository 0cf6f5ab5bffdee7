"""Read and write safetensors files, whose header describes the network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open

from rednet.errors import InputError
from rednet.files import require_free, write_atomically
from rednet.versions import rednet_version
from rednet.weights.checkpoint import OURS, Checkpoint
from rednet.weights.hub_config import read_hub_config

LENGTH_BYTES = 8
ALIGNMENT = 8
MAX_HEADER_BYTES = 4 * 2**20
DESCRIPTION = {
    "model": "model",
    "is_recognised": "is_inferred",
    "is_averaged": "is_averaged",
    "preprocessing": "preprocessing",
    "class_names": "class_names",
}
"""Keys of the header, and the attributes of `Checkpoint` that they hold."""
CARRIED = ("config", "data", "metrics", "versions")
"""Keys of the header that are copied from the content of a checkpoint of ours."""


def is_safetensors(head: bytes) -> bool:
    """Whether a file starts like a safetensors file: the length of the header, then JSON."""
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    return head[LENGTH_BYTES:].startswith(b"{") and length <= MAX_HEADER_BYTES


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read the tensors, under "state_dict", and the description that `write_safetensors` wrote.

    A file from another program has its header's text under "metadata" instead, and what timm's
    `config.json` beside it says.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata.get("format", "").startswith("rednet"):  # a later version's; here it is "pt"
        return {"format": metadata["format"], "state_dict": weights}
    if "rednet" not in metadata:
        return {"state_dict": weights, "metadata": metadata, **(read_hub_config(path) or {})}
    kept = (*DESCRIPTION, *CARRIED)
    description = {name: json.loads(metadata[name]) for name in kept if name in metadata}
    return {"format": "rednet-safetensors", "state_dict": weights, **description}


def write_safetensors(checkpoint: Checkpoint, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a checkpoint's weights, under our names, and the description of its network.

    `safetensors.torch.load_file` and timm read the weights, `read_checkpoint` also the description.
    The file is written atomically.

    Args:
        checkpoint: The checkpoint; averaged weights are written if it has them.
        path: The new file.
        overwrite: Whether to replace an existing file; the checkpoint's file is never replaced.

    Raises:
        InputError: The file exists or cannot be written.
    """
    path = Path(path)
    try:
        require_free(path, checkpoint.path, overwrite)
        data = encode_safetensors(checkpoint)
        write_atomically(path, lambda file: file.write(data))
    except OSError as error:
        raise InputError(f"output={path}: cannot be written: {error.strerror}") from error


def encode_safetensors(checkpoint: Checkpoint) -> bytes:
    """Return the bytes of the file that `write_safetensors` writes."""
    weights = {  # copies, since safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in checkpoint.state_dict.items()
    }
    return _with_metadata(safetensors.torch.save(weights), _metadata(checkpoint))


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Add metadata to a file's bytes in a fixed order; safetensors' order is random."""
    start = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    tensors = json.loads(data[LENGTH_BYTES:start])
    header = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + data[start:]


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    description = {key: getattr(checkpoint, name) for key, name in DESCRIPTION.items()}
    if checkpoint.kind in OURS:
        description |= {name: checkpoint.content.get(name) for name in CARRIED}
    return {
        "format": "pt",
        "rednet": rednet_version(),
        "source": checkpoint.kind,
        **_as_json(description),
    }


def _as_json(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items() if value is not None}
