"""Convert other programs' names of a RedNet's tensors to ours."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rednet.errors import InputError
from rednet.weights.messages import printable
from rednet.weights.pickles import Array

PADDLE_STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}
PADDLE_NAME_TABLE = "StructuredToParameterName@@"
SIGNATURE = ("stem.0.conv.weight", "layer1.0.conv3.weight", "layer4.0.conv3.weight")


def is_rednet(weights: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names of a RedNet's, and `SIGNATURE` are convolutions."""
    return all(name in weights and weights[name].ndim == 4 for name in SIGNATURE)


def strip_prefixes(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Strip the prefixes "backbone." and "head." of OpenMMLab's classifiers.

    mmcv's EMAHook stores each weight twice. The copies named "ema_*" are dropped: the hook swaps
    both before it saves, so the averaged weights have the plain names.

    Returns:
        The tensors, and the names of the parts that were dropped. If there are other parts than
        these two, the head is kept only if it is a classifier on top of the backbone.
    """
    ema_copies = {f"ema_{name.replace('.', '_')}" for name in weights}
    parts = {name.partition(".")[0] for name in weights if name not in ema_copies}
    if "backbone" not in parts:
        return dict(weights), ()
    kept = parts & {"backbone", "head"}
    if kept != parts and not _has_classifier(weights):
        kept = {"backbone"}
    stripped = {
        name.partition(".")[2]: tensor
        for name, tensor in weights.items()
        if name.partition(".")[0] in kept
    }
    return stripped, tuple(sorted(parts - kept))


def _has_classifier(weights: Mapping[str, Tensor]) -> bool:
    classifier, last = weights.get("head.fc.weight"), weights.get("backbone.layer4.0.conv3.weight")
    if classifier is None or last is None or classifier.ndim != 2:
        return False
    return classifier.shape[1] == len(last)


def from_paddle(arrays: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Convert Paddle's parameters to torch's; return None if they are not Paddle's.

    Paddle's batch normalisation counts no batches, and its linear layers store the weight
    transposed.

    Args:
        arrays: By name, an `Array` or a tuple of another name and an `Array`.

    Raises:
        InputError: An array is not floating-point.
    """
    if not any(str(name).endswith("._mean") for name in arrays):
        return None
    weights: dict[str, Tensor] = {}
    for name, value in arrays.items():
        if name == PADDLE_NAME_TABLE:
            continue
        array = value[-1] if isinstance(value, tuple) and value else value
        if not isinstance(name, str) or not isinstance(array, Array):
            return None
        layer, dot, parameter = name.rpartition(".")
        torch_name = f"{layer}{dot}{PADDLE_STATISTICS.get(parameter, parameter)}"
        weights[torch_name] = _paddle_tensor(name, array)
        if parameter == "_mean":
            weights[f"{layer}{dot}num_batches_tracked"] = torch.tensor(0)
    return weights


def _paddle_tensor(name: str, array: Array) -> Tensor:
    tensor = torch.from_numpy(array.values)
    if tensor.dtype == torch.uint16:  # how Paddle stores bfloat16, which numpy lacks
        tensor = tensor.view(torch.bfloat16)
    if not tensor.is_floating_point():
        raise InputError(
            f"{printable(name)} has {tensor.dtype}, but Paddle's weights are floating-point"
        )
    return (tensor.T if tensor.ndim == 2 else tensor).contiguous()
