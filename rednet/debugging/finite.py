"""Whether values are finite, and in words what is not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rednet.wording import count, join_names


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def is_finite(value: Any) -> bool:
    """Return whether all numbers of all tensors of a nested value are finite."""
    return all(
        bool(tensor.isfinite().all())
        for tensor in tensors_in(value)
        if tensor.is_floating_point() or tensor.is_complex()
    )


def describe(value: Any) -> str:
    """Return the shape of the first tensor that is not finite, and how much of it is not."""
    tensor = next(tensor for tensor in tensors_in(value) if not is_finite(tensor))
    nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    parts = [f"{nan} nan" if nan else "", f"{infinite} inf" if infinite else ""]
    found = " and ".join(filter(None, parts))
    return f"{tuple(tensor.shape)} with {found} among {count(tensor.numel(), 'value')}"


def largest(value: Any) -> float:
    """Return the largest magnitude among the tensors of a nested value; 0 without any."""
    tensors = (t for t in tensors_in(value) if t.numel() and t.is_floating_point())
    return max((float(tensor.detach().abs().max()) for tensor in tensors), default=0.0)


def nonfinite_names(named: Iterable[tuple[str, Any]]) -> list[str]:
    """Return the names of the values that are not finite."""
    return [name for name, value in named if not is_finite(value)]


def nonfinite_tensors(model: nn.Module) -> list[str]:
    """Return which parameters and buffers of a network are not finite."""
    parameters = nonfinite_names(model.named_parameters())
    buffers = nonfinite_names(model.named_buffers())
    return [f"parameter {name}" for name in parameters] + [f"buffer {name}" for name in buffers]


def guilty_images(tensor: Any, names: Sequence[str]) -> str:
    """Return which images of a batch have values that are not finite; empty if all or unknown."""
    first = next((each for each in tensors_in(tensor) if not is_finite(each)), None)
    if first is None or first.dim() == 0 or len(first) != len(names):
        return ""
    rows = first.detach().flatten(1) if first.dim() > 1 else first.detach()[:, None]
    bad = (~rows.isfinite().all(1)).nonzero().flatten().tolist()
    which = [names[index] for index in bad]
    if len(which) == len(names) and len(names) > 1:
        return f"in all {len(names)} images of the batch"
    return f"in {count(len(which), 'image')} of {len(names)}: {join_names(which)}"


def optimizer_names(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    """Return what of an optimizer's state is not finite, such as ``exp_avg of fc.bias``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        f"{key} of {names.get(id(parameter), 'a parameter')}"
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if not is_finite(value)
    ]
