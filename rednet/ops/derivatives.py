"""The derivatives of the operators, in both modes and to any order, and their rule for vmap.

The operators are bilinear and closed under differentiation: the derivatives of each are the two
others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rednet.ops import torch_ops
from rednet.ops.results import memory_format_of

Operator = torch.library.CustomOpDef
Gradients = tuple[Tensor | None, ...]


def call(operator: Operator, first: Tensor, second: Tensor, *numbers: int) -> Tensor:
    """Return what an operator computes, differentiable also where torch's registration is not.

    Torch ignores the tangents of a registered operator's arguments, and has no `torch.func` for it.
    """
    if not torch.compiler.is_compiling() and _transforms_active():
        return _Transformable.apply(first, second, operator, *numbers)
    return operator(first, second, *numbers)


def _transforms_active() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


class _Transformable(torch.autograd.Function):
    """An operator with all that `torch.func` and forward-mode differentiation ask for."""

    @staticmethod
    def forward(first: Tensor, second: Tensor, operator: Operator, *numbers: int) -> Tensor:
        with torch_ops.tangents_handled():
            return operator(first, second, *numbers)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.operator, ctx.numbers = inputs[2], inputs[3:]
        ctx.save_for_forward(*inputs[:2])
        _save_pair(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        return *_FORMULAS[ctx.operator](ctx, grad), None

    @staticmethod
    def jvp(ctx: Any, first: Tensor | None, second: Tensor | None, *_: None) -> Tensor | None:
        operator, numbers = ctx.operator, ctx.numbers
        # Torch disables the mode here, which would lose the tangents of enclosing transforms.
        with forward_ad._set_fwd_grad_enabled(True):
            pair = [forward_ad.unpack_dual(tensor).primal for tensor in ctx.saved_tensors]
            terms = [
                call(operator, *arguments, *numbers)
                for arguments in ((first, pair[1]), (pair[0], second))
                if all(tensor is not None for tensor in arguments)
            ]
            return sum(terms[1:], terms[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        first, second, *rest = arguments
        return _fold_into_batch(_Transformable.apply, info.batch_size, in_dims, first, second, rest)


def _fold_into_batch(
    function: Callable[..., Tensor],
    size: int,
    in_dims: tuple[int | None, ...],
    first: Tensor,
    second: Tensor,
    rest: Sequence[Any],
) -> tuple[Tensor, int]:
    """Compute `size` mapped calls of an operator as one, with their samples in its batch."""
    first, second = (
        _put_first(tensor, dim, size).flatten(0, 1)
        for tensor, dim in zip((first, second), in_dims[:2], strict=True)
    )
    result = function(first, second, *rest)
    return result.unflatten(0, (size, len(result) // size)), 0


def _put_first(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Move the mapped dimension to the front; where there is none, repeat the tensor for it."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _save_pair(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Save both tensors of an operator and the four numbers of its window."""
    ctx.save_for_backward(*inputs[:2])
    ctx.window = inputs[-4:]


def _backward_involution2d(ctx: Any, grad: Tensor) -> Gradients:
    input, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    groups = weight.shape[1] // ctx.window[0] ** 2
    grad_input = (
        call(torch_ops.grad_input, grad, weight, *input.shape[2:], *ctx.window)
        if needed[0]
        else None
    )
    grad_weight = (
        call(torch_ops.grad_weight, grad, input, groups, *ctx.window) if needed[1] else None
    )
    return match_layout(grad_input, input), match_layout(grad_weight, weight), *[None] * 4


def _backward_grad_input(ctx: Any, grad: Tensor) -> Gradients:
    outer, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    groups = weight.shape[1] // ctx.window[0] ** 2
    grad_outer = call(torch_ops.involution2d, grad, weight, *ctx.window) if needed[0] else None
    grad_weight = (
        call(torch_ops.grad_weight, outer, grad, groups, *ctx.window) if needed[1] else None
    )
    return match_layout(grad_outer, outer), match_layout(grad_weight, weight), *[None] * 6


def _backward_grad_weight(ctx: Any, grad: Tensor) -> Gradients:
    outer, input = ctx.saved_tensors
    needed = ctx.needs_input_grad
    grad_outer = call(torch_ops.involution2d, input, grad, *ctx.window) if needed[0] else None
    grad_input = (
        call(torch_ops.grad_input, outer, grad, *input.shape[2:], *ctx.window)
        if needed[1]
        else None
    )
    return match_layout(grad_outer, outer), match_layout(grad_input, input), *[None] * 5


def match_layout(grad: Tensor | None, like: Tensor) -> Tensor | None:
    """Return a gradient in the memory format of its tensor; copy only if the two differ."""
    if grad is None or _hides_layout(grad):
        return grad
    return grad.contiguous(memory_format=memory_format_of(like))


def _hides_layout(tensor: Tensor) -> bool:
    """Return whether a tensor is one of several that are mapped, and has no memory format."""
    return (
        torch._C._are_functorch_transforms_active()
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
    )


_FORMULAS: dict[Operator, Callable[[Any, Tensor], Gradients]] = {
    torch_ops.involution2d: _backward_involution2d,
    torch_ops.grad_input: _backward_grad_input,
    torch_ops.grad_weight: _backward_grad_weight,
}


def _register(operator: Operator, formula: Callable[[Any, Tensor], Gradients]) -> None:
    """Register the backward formula and the rule for vmap with torch, for direct calls."""

    def batched(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
        first, second, *rest = arguments
        return _fold_into_batch(operator, info.batch_size, in_dims, first, second, rest)

    operator.register_autograd(formula, setup_context=_save_pair)
    operator.register_vmap(batched)


for _operator, _formula in _FORMULAS.items():
    _register(_operator, _formula)
