"""Remove what wrappers of a network add to the names of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rednet.errors import InputError
from rednet.weights.messages import list_some
from rednet.weights.naming import SIGNATURE, is_rednet

WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Modules that stand for the one inside them, anywhere in a name."""
COUNTERS = ("n_averaged", "num_updates", "initted", "step", "steps", "decay")
"""Tensors that averaging adds to a network's."""
AVERAGED = {"ema", "swa", "averaged", "average", "avg", "shadow"}
"""Words in the names of averaged weights."""


@dataclass(frozen=True)
class Unwrapped:
    """The tensors of a network without its wrappers.

    Attributes:
        weights: The tensors by the network's names.
        prefix: What was removed from the beginning of the names.
        dropped: First parts of the names of the tensors that do not belong to the network.
    """

    weights: dict[str, Tensor]
    prefix: str = ""
    dropped: tuple[str, ...] = ()


def sounds_averaged(name: str) -> bool:
    """Whether a name such as "model_ema" is one of averaged weights."""
    return bool(AVERAGED & set(re.split(r"[^a-z]+", name.lower())))


def without_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without the counters of averaging."""
    return {name: tensor for name, tensor in weights.items() if name not in COUNTERS}


def unwrap(weights: Mapping[str, Tensor]) -> Unwrapped:
    """Remove wrappers' parts of the names: any prefix that all names share, or that a RedNet has.

    Examples are "module." of DistributedDataParallel, "_orig_mod." of torch.compile, and the
    attribute of a LightningModule, whose other tensors are dropped if the network is a RedNet.

    Raises:
        InputError: The tensors belong to several RedNets, or removing wrappers gives equal names.
    """
    plain = {WRAPPERS.sub("", name): tensor for name, tensor in weights.items()}
    if len(plain) != len(weights):
        raise InputError("contains the same weights with and without the prefix of a wrapper")
    counted = without_counters(plain)
    prefix = _shared_prefix(counted)
    if not prefix and not is_rednet(plain):
        prefix = _rednet_prefix(plain)
    if not prefix:
        return Unwrapped(plain)
    others = {name.partition(".")[0] for name in counted if not name.startswith(prefix)}
    return Unwrapped(_below(counted, prefix), prefix, tuple(sorted(others)))


def _shared_prefix(weights: Mapping[str, Tensor]) -> str:
    """Return the longest prefix that all names share; numbers after it belong to the network."""
    prefix = ""
    while True:
        names = [name[len(prefix) :] for name in weights]
        firsts = {name.partition(".")[0] for name in names}
        rest = [name.partition(".")[2] for name in names]
        if len(firsts) != 1 or not all(rest) or not any("." in name for name in rest):
            return prefix
        first = firsts.pop()
        is_numbered = any(name.partition(".")[0].isdigit() for name in rest)
        if is_numbered and first != "module":
            return prefix
        prefix += f"{first}."


def _rednet_prefix(weights: Mapping[str, Tensor]) -> str:
    """Return the prefix of the RedNet among tensors, the averaged one's if there are two."""
    end = SIGNATURE[0]
    prefixes = [name.removesuffix(end) for name in weights if name.endswith(f".{end}")]
    found = [prefix for prefix in prefixes if is_rednet(_below(weights, prefix))]
    averaged = [prefix for prefix in found if sounds_averaged(prefix)]
    found = averaged or found
    if len(found) > 1:
        raise InputError(
            f"contains several networks ({list_some(found)}): save the one to use with torch.save"
        )
    # "backbone." and "head." of OpenMMLab are removed later, together.
    return found[0].removesuffix("backbone.") if found else ""


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
