"""Count the multiply-adds of a network, and its FLOPs as the publications count them.

| function                 | `macs`                 | `flops`                    |
|--------------------------|------------------------|----------------------------|
| convolution              | taps x outputs         | taps x outputs + bias      |
| involution               | K*K*C*Ho*Wo            | K*K*C*Ho*Wo                |
| attention's query x key  | K*K*C*Ho*Wo            | K*K*C*Ho*Wo                |
| fully connected          | inputs x outputs       | 0                          |
| other matrix products    | inputs x outputs       | 0                          |
| batch normalisation      | 0                      | 2 per element, 1 if bare   |
| ReLU                     | 0                      | 1 per element              |
| pooling, also the global | 0                      | 1 per element of the input |
| everything else          | 0                      | 0                          |

Taps in the padding count like all others. C is the number of multiplied channels, in attention
those of the queries. "Everything else", listed by `Complexity.uncounted`, is sums (including the
shortcut's), products with a scalar, softmax, other activations and normalisations. Functions that
only allocate or move memory are ignored.

`flops` equals what mmcv 1.2.7's `get_model_complexity_info` reports for the features without the
classifier, as mmcls 0.9.0 calls it. That tool does not see involution; with its product added, all
figures of RedNet's model zoo are reproduced to the last digit (7x7 stem). Attention as a kernel
generator was never published; it is counted like involution.
"""

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

UNCOUNTED = "uncounted"
MEMORY_FUNCTIONS = frozenset(
    (
        "empty",
        "new_zeros",
        "arange",
        "clone",
        "cat",
        "copy_",
        "constant_pad_nd",
        "_to_copy",
        "_unsafe_view",
    )
)
"""Functions that only allocate or move memory; views are recognised by torch itself."""


@dataclass(frozen=True)
class Operation:
    """One call of a torch function.

    Attributes:
        kind: A kind in `RULES`, or "uncounted".
        function: Name of the function in torch.
        module: Dotted name of the module whose `forward` called the function.
        output: Shape of the function's (first) output.
        macs: Number of multiply-adds.
        flops: Number of FLOPs in the publications' convention.
    """

    kind: str
    function: str
    module: str
    output: tuple[int, ...]
    macs: int = 0
    flops: int = 0


@dataclass(frozen=True)
class Complexity:
    """The complexity of a network for one image.

    Attributes:
        weights: Number of elements of each trainable parameter, by name.
        operations: The calls of torch functions, in order.
    """

    weights: Mapping[str, int]
    operations: tuple[Operation, ...]

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(self.weights.values())

    @property
    def macs(self) -> int:
        """Number of multiply-adds."""
        return sum(operation.macs for operation in self.operations)

    @property
    def flops(self) -> int:
        """Number of FLOPs in the publications' convention."""
        return sum(operation.flops for operation in self.operations)

    @property
    def uncounted(self) -> Counter[str]:
        """Number of calls of each function that computes but is counted in neither convention."""
        return Counter(item.function for item in self.operations if item.kind == UNCOUNTED)

    def within(self, module: str) -> "Complexity":
        """Return the complexity of one module, given its dotted name."""
        path = f"{module}."
        weights = {key: count for key, count in self.weights.items() if key.startswith(path)}
        inside = (item for item in self.operations if f"{item.module}.".startswith(path))
        return Complexity(weights, tuple(inside))

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Return (macs, flops) by kind of function, without the uncounted ones."""
        return self._sums(lambda operation: operation.kind)

    def by_child(self) -> dict[str, tuple[int, int]]:
        """Return (macs, flops) by child of the network: stem, layer1, ..."""
        return self._sums(lambda operation: operation.module.partition(".")[0])

    def _sums(self, key: Callable[[Operation], str]) -> dict[str, tuple[int, int]]:
        sums: dict[str, tuple[int, int]] = {}
        for operation in self.operations:
            if operation.kind != UNCOUNTED:
                macs, flops = sums.get(key(operation), (0, 0))
                sums[key(operation)] = macs + operation.macs, flops + operation.flops
        return sums


def count_complexity(model: nn.Module, input_size: Sequence[int] = (3, 224, 224)) -> Complexity:
    """Count the complexity of a network in evaluation mode for one image.

    A copy of the network runs once on the meta device, so nothing is computed and `model` does not
    change.

    Args:
        model: A network for images of shape (1, C, H, W).
        input_size: (C, H, W).
    """
    return count_complexity_on_meta(copy.deepcopy(model).to("meta"), input_size)


def count_complexity_on_meta(
    model: nn.Module, input_size: Sequence[int] = (3, 224, 224)
) -> Complexity:
    """Count the complexity of a network on the meta device, leaving hooks on its modules."""
    counter = _Counter(model.eval())
    with torch.no_grad(), counter:
        model(torch.empty(1, *input_size, device="meta"))
    weights = {name: item.numel() for name, item in model.named_parameters() if item.requires_grad}
    return Complexity(weights, tuple(counter.operations))


class _Counter(TorchDispatchMode):
    """Record every function that a network calls and, through hooks, the calling module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.path = [""]
        for name, module in model.named_modules():
            module.register_forward_pre_hook(partial(self._enter, name))
            module.register_forward_hook(self._leave)

    def _enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        self.path.append(name)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.path.pop()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        if name == "native_batch_norm":  # torch needs milliseconds to infer its output shapes
            result = [torch.empty_like(args[0]) for _ in range(3)]
        else:
            result = func(*args, **(kwargs or {}))
        if not func.is_view and name not in MEMORY_FUNCTIONS:
            self._record(name, args, result[0] if isinstance(result, tuple | list) else result)
        return result

    def _record(self, name: str, args: Sequence[Any], output: Tensor) -> None:
        kind, rule = RULES.get(name, (UNCOUNTED, _uncounted))
        operation = Operation(kind, name, self.path[-1], tuple(output.shape), *rule(args, output))
        self.operations.append(operation)


Rule = Callable[[Sequence[Any], Tensor], tuple[int, int]]
"""Maps a function's arguments and first output to (macs, flops)."""


def _uncounted(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    return 0, 0


def _convolution(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    input, weight, bias = args[:3]
    is_transposed = args[6]
    windows = (input if is_transposed else output).shape
    macs = weight.numel() * windows[0] * math.prod(windows[2:])
    return macs, macs + (0 if bias is None else output.numel())


def _involution(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    kernel_size = args[2]
    macs = kernel_size**2 * output.numel()
    return macs, macs


def _attention(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    query, kernel_size = args[0], args[3]
    macs = kernel_size**2 * query.numel()
    return macs, macs


def _matrix_product(left: int, args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    """Count a matrix product whose left factor is argument number `left`."""
    return output.numel() * args[left].shape[-1], 0


def _batch_norm(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    weight = args[1]
    return 0, output.numel() * (1 if weight is None else 2)


def _relu(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    return 0, output.numel()


def _pooling(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    return 0, args[0].numel()


def _mean(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    """Count a mean of feature maps: torch dispatches global average pooling to it."""
    return _pooling(args, output) if args[0].ndim == 4 else _uncounted(args, output)


RULES: dict[str, tuple[str, Rule]] = {
    "convolution": ("convolution", _convolution),
    "involution2d": ("involution", _involution),
    "involution2d_grad_weight": ("attention", _attention),
    "mm": ("linear", partial(_matrix_product, 0)),
    "bmm": ("linear", partial(_matrix_product, 0)),
    "addmm": ("linear", partial(_matrix_product, 1)),
    "baddbmm": ("linear", partial(_matrix_product, 1)),
    "native_batch_norm": ("normalisation", _batch_norm),
    "relu": ("activation", _relu),
    "relu_": ("activation", _relu),
    "avg_pool2d": ("pooling", _pooling),
    "max_pool2d_with_indices": ("pooling", _pooling),
    "_adaptive_avg_pool2d": ("pooling", _pooling),
    "mean": ("pooling", _mean),
}
"""The kind and the rule of each counted torch function."""
