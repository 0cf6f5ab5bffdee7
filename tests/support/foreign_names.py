"""Tensors of a RedNet under the names of other programs."""

from typing import Any


def openmmlab_names(weights: dict[str, Any]) -> dict[str, Any]:
    """The prefixes of OpenMMLab's classifiers."""
    return {
        f"{'head.' if name.startswith('fc.') else 'backbone.'}{name}": tensor
        for name, tensor in weights.items()
    }


def paddle_arrays(weights: dict[str, Any]) -> dict[str, Any]:
    """Paddle's names, its transposed linear weights, its batch normalisations without counters."""
    theirs = {"running_mean": "_mean", "running_var": "_variance"}
    arrays = {}
    for name, tensor in weights.items():
        layer, _, parameter = name.rpartition(".")
        if parameter != "num_batches_tracked":
            array = tensor.numpy()
            arrays[f"{layer}.{theirs.get(parameter, parameter)}"] = (
                array.T.copy() if array.ndim == 2 else array
            )
    return arrays
