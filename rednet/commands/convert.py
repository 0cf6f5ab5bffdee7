"""Convert weights of any format to a safetensors file with our names."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from rednet import cli
from rednet.config import ConvertWeightsConfig
from rednet.errors import InputError
from rednet.program import announce, announce_torch, say

if TYPE_CHECKING:
    from rednet.weights import Checkpoint

SUFFIX = ".safetensors"
HASH_DIGITS = 8


def convert_weights(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("convert_weights", _convert_weights, argv)


def _convert_weights(config: ConvertWeightsConfig, explicit_keys: frozenset[str]) -> None:
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights to convert")
    if config.output is None:
        raise InputError("output=FILE.safetensors is needed: the file to write")
    if not config.output.endswith(SUFFIX):
        raise InputError(f"output={config.output}: must end in {SUFFIX}")
    announce_torch()
    from rednet.weights import override_network, read_checkpoint, restore_model, write_safetensors

    announce("converting the weights")
    checkpoint = read_checkpoint(config.checkpoint)
    if config.model is not None:
        checkpoint = override_network(checkpoint, config.model.name, config.model.options)
    parameters = sum(parameter.numel() for parameter in restore_model(checkpoint).parameters())
    write_safetensors(checkpoint, config.output, overwrite=config.overwrite)
    _print_checkpoint(checkpoint, parameters)
    content = Path(config.output).read_bytes()
    digest = sha256(content).hexdigest()[:HASH_DIGITS]
    say(f"wrote {config.output}: {len(content):,} bytes, sha256 {digest}...")


def _print_checkpoint(checkpoint: "Checkpoint", parameters: int) -> None:
    """Print the format of a checkpoint, its network, and what was assumed about it."""
    from rednet.weights import list_notes

    origin = " (inferred from its tensors)" if checkpoint.is_inferred else ""
    say(f"{checkpoint.label}: {checkpoint.kind}")
    say(f"network: {checkpoint.describe_network()}{origin}, {parameters:,} parameters")
    for line in list_notes(checkpoint):
        say(line)
