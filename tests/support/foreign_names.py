"""A RedNet's tensors under the names that other programs use."""

from typing import Any


def openmmlab_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Add the prefixes of OpenMMLab's classifiers."""
    return {
        f"{'head.' if name.startswith('fc.') else 'backbone.'}{name}": tensor
        for name, tensor in weights.items()
    }


def paddle_arrays(weights: dict[str, Any]) -> dict[str, Any]:
    """Convert to Paddle's names, transposed linear weights, and no batch counters."""
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
