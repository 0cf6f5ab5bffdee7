"""A backend whose involution and span are one operator, in plain Python, a row at a time."""

from collections import Counter
from dataclasses import replace

import torch
import torch.nn.functional as F

from rednet.ops import SpanBackend, Window, reference, registered_backends
from rednet.ops.results import empty_grad_input, empty_output, memory_format_of

CALLS: Counter[str] = Counter()
"""Calls of each operator so far."""
NAME = "tiled"


def _wide(tensor):
    return tensor if tensor is None or tensor.dtype == torch.float64 else tensor.float()


def _kernel(reduced, weight, bias):
    with torch.autocast("cpu", enabled=False):
        kernel = F.conv2d(*map(_wide, (reduced, weight, bias)))
    return kernel.to(reduced.dtype)


def _tiles(reduced, window):
    """Yield each row of outputs, and the rows of the padded input that it reads."""
    reach = window.dilation * (window.kernel_size - 1) + 1
    for row in range(reduced.shape[2]):
        top = row * window.stride
        yield slice(row, row + 1), slice(top, top + reach)


def _unpadded(window):
    return Window(window.kernel_size, window.stride, 0, window.dilation)


def span_involution2d(input, reduced, weight, bias, window):
    CALLS["span_involution2d"] += 1
    padded, output = F.pad(input, [window.padding] * 4), empty_output(input, reduced)
    for row, rows in _tiles(reduced, window):
        kernel = _kernel(reduced[:, :, row], weight, bias)
        output[:, :, row] = reference.involution2d(padded[:, :, rows], kernel, _unpadded(window))
    return output


def span_grad_input(grad, reduced, weight, bias, input_size, window):
    CALLS["span_grad_input"] += 1
    result, side = empty_grad_input(grad, reduced, input_size), window.padding
    padded = F.pad(result.zero_(), [side] * 4)
    for row, rows in _tiles(reduced, window):
        kernel = _kernel(reduced[:, :, row], weight, bias)
        size = rows.stop - rows.start, padded.shape[3]
        padded[:, :, rows] += reference.involution2d_grad_input(
            grad[:, :, row], kernel, size, _unpadded(window)
        )
    height, width = input_size
    return result.copy_(padded[:, :, side : side + height, side : side + width])


def span_gradients(grad, input, reduced, weight, window):
    CALLS["span_gradients"] += 1
    padded = F.pad(input, [window.padding] * 4)
    of_reduced = torch.empty_like(reduced, memory_format=memory_format_of(reduced))
    matrix = weight.flatten(1)  # (G*K*K, D)
    of_weight, of_bias = torch.zeros_like(matrix), matrix.new_zeros(len(matrix))
    for row, rows in _tiles(reduced, window):
        kernel = reference.involution2d_grad_weight(
            grad[:, :, row], padded[:, :, rows], len(matrix) // window.area, _unpadded(window)
        )
        of_reduced[:, :, row] = torch.einsum("nkhw,kd->ndhw", kernel, matrix)
        of_weight += torch.einsum("nkhw,ndhw->kd", kernel, reduced[:, :, row])
        of_bias += kernel.sum((0, 2, 3))
    return of_reduced, of_weight[:, :, None, None], of_bias


BACKEND = replace(
    registered_backends()[-1],
    name=NAME,
    span=SpanBackend(
        lambda operator, sizes, dtype, device, tensors=(): None,
        span_involution2d,
        span_grad_input,
        span_gradients,
    ),
)
