"""What a network costs: multiply-adds, and the FLOPs of the publications, function by function.

| function                 | `macs`                 | `published`               |
|--------------------------|------------------------|---------------------------|
| convolution              | taps x outputs         | taps x outputs + bias     |
| involution               | K*K*C*Ho*Wo            | K*K*C*Ho*Wo               |
| attention's query x key  | K*K*C*Ho*Wo            | K*K*C*Ho*Wo               |
| fully connected          | inputs x outputs       | 0                         |
| other matrix products    | inputs x outputs       | 0                         |
| batch normalisation      | 0                      | 2 an element, 1 if bare   |
| ReLU                     | 0                      | 1 an element              |
| pooling, also the global | 0                      | 1 an element of the input |
| everything else          | 0                      | 0                         |

A tap of padding counts like any other. C is the number of channels that are multiplied, in
attention those of the queries. Everything else is what computes and is counted in neither column:
sums (the shortcut's too), products by a scalar, softmax, other activations and normalisations;
`Complexity.uncounted` names it. What only makes or moves memory is left out.

`published` is what mmcv 1.2.7's `get_model_complexity_info` finds as mmcls 0.9.0 calls it, on the
features without the classifier. That sees no involution; with its product added, all figures of
RedNet's model zoo come out to their last digit (7x7 stem). Nobody has published attention as a
generator; it is counted like the involution.
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
    ("empty", "arange", "clone", "cat", "copy_", "constant_pad_nd", "_to_copy", "_unsafe_view")
)
"""Beside views, which torch knows of."""


@dataclass(frozen=True)
class Operation:
    """One call of a torch function.

    Attributes:
        kind: "convolution", "involution", "attention", "linear", "normalisation", "activation",
            "pooling" or "uncounted".
        function: Its name in torch.
        module: Dotted name of the module whose `forward` called it.
        output: Shape of its result.
        macs: Multiply-adds.
        published: In the publications' convention.
    """

    kind: str
    function: str
    module: str
    output: tuple[int, ...]
    macs: int = 0
    published: int = 0


@dataclass(frozen=True)
class Complexity:
    """Costs of a network for one image.

    Attributes:
        weights: How many numbers each trainable parameter has.
        operations: In the order of their calls.
    """

    weights: Mapping[str, int]
    operations: tuple[Operation, ...]

    @property
    def parameters(self) -> int:
        """Trainable numbers."""
        return sum(self.weights.values())

    @property
    def macs(self) -> int:
        """Plain multiply-adds."""
        return sum(operation.macs for operation in self.operations)

    @property
    def published(self) -> int:
        """FLOPs in the publications' convention."""
        return sum(operation.published for operation in self.operations)

    @property
    def uncounted(self) -> Counter[str]:
        """Calls of each function that computes and is counted in neither convention."""
        return Counter(item.function for item in self.operations if item.kind == UNCOUNTED)

    def within(self, module: str) -> "Complexity":
        """The costs of one of the modules, by its dotted name."""
        path = f"{module}."
        weights = {key: count for key, count in self.weights.items() if key.startswith(path)}
        inside = (item for item in self.operations if f"{item.module}.".startswith(path))
        return Complexity(weights, tuple(inside))

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """(macs, published) of each kind of function that is counted."""
        return self._sums(lambda operation: operation.kind)

    def by_child(self) -> dict[str, tuple[int, int]]:
        """(macs, published) of each child of the network: stem, layer1, ..."""
        return self._sums(lambda operation: operation.module.partition(".")[0])

    def _sums(self, key: Callable[[Operation], str]) -> dict[str, tuple[int, int]]:
        sums: dict[str, tuple[int, int]] = {}
        for operation in self.operations:
            if operation.kind != UNCOUNTED:
                macs, published = sums.get(key(operation), (0, 0))
                sums[key(operation)] = macs + operation.macs, published + operation.published
        return sums


def measure(model: nn.Module, input_size: Sequence[int] = (3, 224, 224)) -> Complexity:
    """Counts what a network does for one image, in evaluation; nothing is computed for it.

    A copy of the network runs once on torch's meta device, where tensors are shapes alone; the
    network itself stays as it is.

    Args:
        model: Takes images (1, C, H, W).
        input_size: (C, H, W).
    """
    return measure_shadow(copy.deepcopy(model).to("meta"), input_size)


def measure_shadow(shadow: nn.Module, input_size: Sequence[int] = (3, 224, 224)) -> Complexity:
    """`measure` for a network that is on the meta device and not used any more afterwards."""
    counter = _Counter(shadow.eval())
    with torch.no_grad(), counter:
        shadow(torch.empty(1, *input_size, device="meta"))
    weights = {name: item.numel() for name, item in shadow.named_parameters() if item.requires_grad}
    return Complexity(weights, tuple(counter.operations))


class _Counter(TorchDispatchMode):
    """Notes every function that a network calls, and in which of its modules, which get hooks."""

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
        if name == "native_batch_norm":  # torch takes milliseconds for the shape of its result
            result = [torch.empty_like(args[0]) for _ in range(3)]
        else:
            result = func(*args, **(kwargs or {}))
        if not func.is_view and name not in MEMORY_FUNCTIONS:
            self._note(name, args, result[0] if isinstance(result, tuple | list) else result)
        return result

    def _note(self, name: str, args: Sequence[Any], output: Tensor) -> None:
        kind, rule = RULES.get(name, (UNCOUNTED, _nothing))
        macs, published = rule(args, output)
        shape = tuple(output.shape)
        self.operations.append(Operation(kind, name, self.path[-1], shape, macs, published))


Rule = Callable[[Sequence[Any], Tensor], tuple[int, int]]
"""From the arguments and the first result of a function to (macs, published)."""


def _nothing(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
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
    """`left` is the position of the left factor among the arguments."""
    return output.numel() * args[left].shape[-1], 0


def _batch_norm(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    weight = args[1]
    return 0, output.numel() * (1 if weight is None else 2)


def _relu(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    return 0, output.numel()


def _pooling(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    return 0, args[0].numel()


def _mean(args: Sequence[Any], output: Tensor) -> tuple[int, int]:
    """Torch makes a global pooling a mean."""
    return _pooling(args, output) if args[0].ndim == 4 else _nothing(args, output)


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
