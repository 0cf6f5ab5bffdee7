"""The derivatives of an involution with its span, to any order, and their rule for vmap.

The operators are closed under differentiation: with the kernel of a pixel, W h + b, linear in the
reduced image h and in the weight W, the derivatives of each operator are calls of the three.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rednet.ops import span_torch_ops
from rednet.ops.derivatives import match_layout

Gradients = tuple[Tensor | None, ...]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Save the tensors of an operator and the four numbers of its window."""
    ctx.save_for_backward(*inputs[:4])
    ctx.window = inputs[-4:]


def _backward_involution2d(ctx: Any, grad: Tensor) -> Gradients:
    input, reduced, weight, bias = ctx.saved_tensors
    needed, size = ctx.needs_input_grad, input.shape[2:]
    of_input = None
    if needed[0]:
        of_input = span_torch_ops.grad_input(grad, reduced, weight, bias, *size, *ctx.window)
    of_span = _span_gradients(ctx, needed[1:4], grad, input, reduced, weight)
    return match_layout(of_input, input), *of_span, *[None] * 4


def _backward_grad_input(ctx: Any, grad: Tensor) -> Gradients:
    outer, reduced, weight, bias = ctx.saved_tensors
    needed = ctx.needs_input_grad
    of_outer = None
    if needed[0]:
        of_outer = span_torch_ops.involution2d_span(grad, reduced, weight, bias, *ctx.window)
    of_span = _span_gradients(ctx, needed[1:4], outer, grad, reduced, weight)
    return match_layout(of_outer, outer), *of_span, *[None] * 6


def _span_gradients(
    ctx: Any, needed: Sequence[bool], outer: Tensor, input: Tensor, reduced: Tensor, weight: Tensor
) -> Gradients:
    """Return the needed ones of the gradients of reduced images, weight and bias."""
    if not any(needed):
        return None, None, None
    three = span_torch_ops.gradients(outer, input, reduced, weight, *ctx.window)
    of_reduced, of_weight, of_bias = (
        gradient if wanted else None for gradient, wanted in zip(three, needed, strict=True)
    )
    return match_layout(of_reduced, reduced), _match_weight(of_weight, weight), of_bias


def _backward_gradients(ctx: Any, of_reduced: Tensor, of_weight: Tensor, of_bias: Tensor) -> Any:
    """Return the gradients of grad, input, reduced images and weight.

    With k the gradient of the kernels, <k, W a + B h + c> is what a, B, c = `of_reduced`,
    `of_weight`, `of_bias` make of the operator's results: the same with two other spans.
    """
    outer, input, reduced, weight = ctx.saved_tensors
    needed, window = ctx.needs_input_grad, ctx.window
    spans = ((of_reduced, weight, None), (reduced, of_weight, of_bias))
    of_outer = of_input = None
    if needed[0]:
        terms = [span_torch_ops.involution2d_span(input, *span, *window) for span in spans]
        of_outer = match_layout(terms[0] + terms[1], outer)
    if needed[1]:
        size = input.shape[2:]
        terms = [span_torch_ops.grad_input(outer, *span, *size, *window) for span in spans]
        of_input = match_layout(terms[0] + terms[1], input)
    results: Gradients = (None, None)
    if any(needed[2:4]):
        results = span_torch_ops.gradients(outer, input, of_reduced, of_weight, *window)[:2]
    last = match_layout(results[0], reduced), _match_weight(results[1], weight)
    return of_outer, of_input, *last, *[None] * 4


def _match_weight(grad: Tensor | None, weight: Tensor) -> Tensor | None:
    """Return a weight's gradient with the strides of its memory format, without a copy."""
    # The memory is the same in both formats, but DDP warns of strides unlike the weight's.
    if grad is None or weight.stride(3) == 1:
        return grad
    return grad.flatten(1)[:, None, None].permute(0, 3, 1, 2)


def _register(operator: torch.library.CustomOpDef, formula: Callable[..., Any]) -> None:
    """Register the backward formula and the rule for vmap with torch, for direct calls."""

    def mapped(info: Any, in_dims: Any, *arguments: Any) -> Any:
        def sample(index: int) -> list[Any]:
            pairs = zip(arguments, in_dims, strict=True)
            return [value if dim is None else value.select(dim, index) for value, dim in pairs]

        # One by one: weights that differ from sample to sample cannot share a batch.
        results = [operator(*sample(index)) for index in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])

    operator.register_autograd(formula, setup_context=_save)
    operator.register_vmap(mapped)


_register(span_torch_ops.involution2d_span, _backward_involution2d)
_register(span_torch_ops.grad_input, _backward_grad_input)
_register(span_torch_ops.gradients, _backward_gradients)
