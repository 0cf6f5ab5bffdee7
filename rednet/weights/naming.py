"""The names that other programs give to a RedNet's tensors, and ours for them."""

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
    """Whether tensors are called as a RedNet's, and those are convolutions that should be."""
    return all(name in weights and weights[name].ndim == 4 for name in SIGNATURE)


def strip_prefixes(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Takes away the prefixes "backbone." and "head." that OpenMMLab's classifiers have.

    The twin of every weight that mmcv's EMAHook adds is dropped: it exchanges both before it saves,
    so that the averaged ones have the plain names.

    Returns:
        The tensors, and which parts were left out: where there are more than these two all but the
        backbone, and the head unless it is a classifier on top of that.
    """
    twins = {f"ema_{name.replace('.', '_')}" for name in weights}
    parts = {name.partition(".")[0] for name in weights if name not in twins}
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
    """Paddle's parameters under torch's names, or None if they are not Paddle's.

    Its batch normalisations count no batches, and its linear layers keep their weight transposed.

    Args:
        arrays: An `Array` by each name, or a pair of another name and the array.

    Raises:
        InputError: An array is not of real floating numbers.
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
        ours = f"{layer}{dot}{PADDLE_STATISTICS.get(parameter, parameter)}"
        weights[ours] = _paddle_tensor(name, array)
        if parameter == "_mean":
            weights[f"{layer}{dot}num_batches_tracked"] = torch.tensor(0)
    return weights


def _paddle_tensor(name: str, array: Array) -> Tensor:
    tensor = torch.from_numpy(array.values)
    if tensor.dtype == torch.uint16:  # how Paddle stores what numpy does not have
        tensor = tensor.view(torch.bfloat16)
    if not tensor.is_floating_point():
        raise InputError(f"{printable(name)} holds {tensor.dtype}, which Paddle's weights are not")
    return (tensor.T if tensor.ndim == 2 else tensor).contiguous()
