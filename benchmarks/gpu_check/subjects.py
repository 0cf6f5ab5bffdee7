"""The operators that the check covers. A new one is a `Subject` more in `SUBJECTS`.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.layers import Layer
from rednet.ops import involution2d, involution2d_grad_input, involution2d_grad_weight, reference
from rednet.ops.cuda import span
from rednet.ops.span_sizes import SpanSizes

Shape = tuple[int, ...]
Tensors = Sequence[Tensor]
Compute = Callable[[Layer, Tensors], Tensor | Tensors]
REDUCTION = 4
LAYOUTS = ("channels_last", "contiguous", "mixed")


@dataclass(frozen=True)
class Subject:
    """An operator, which is linear in each of its tensors and whose weights are all positive.

    Attributes:
        shapes: Shapes of its tensors for a layer and a number of images.
        compute: Computes it, for any dtype.
        exact: Computes it from tensors of float64, by the reference.
        terms: Number of terms of the longest sum, for a layer and a number of images.
        roundings: Roundings to the dtype of the tensors before that of the result.
        unavailable_reason: Why it cannot run for a layer and tensors; None if it can.
    """

    shapes: Callable[[Layer, int], tuple[Shape, ...]]
    compute: Compute
    exact: Compute
    terms: Callable[[Layer, int], int]
    roundings: int = 0
    unavailable_reason: Callable[[Layer, Tensors], str | None] = lambda layer, tensors: None


def make_tensors(
    subject: Subject, layer: Layer, batch: int, dtype: torch.dtype, device: str, layout: str
) -> list[Tensor]:
    """Return random tensors for an operator, with the same numbers every time."""
    generator = torch.Generator(device).manual_seed(0)
    tensors = [
        torch.randn(shape, generator=generator, device=device).to(dtype)
        for shape in subject.shapes(layer, batch)
    ]
    return [_lay_out(tensor, layout, index) for index, tensor in enumerate(tensors)]


def _lay_out(tensor: Tensor, layout: str, index: int) -> Tensor:
    """Lay images out in a layout; with "mixed" every other tensor is contiguous."""
    is_contiguous = layout == "contiguous" or (layout == "mixed" and index % 2 == 1)
    if tensor.ndim != 4 or is_contiguous:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def as_list(results: Tensor | Tensors) -> list[Tensor]:
    """Return the results of an operator that may have one."""
    return [results] if isinstance(results, Tensor) else [*results]


def _window(layer: Layer) -> tuple[int, int, int, int]:
    window = layer.window
    return window.kernel_size, window.stride, window.padding, window.dilation


def _groups(layer: Layer) -> int:
    return layer.channels // layer.group_channels


def _images(layer: Layer, batch: int) -> tuple[Shape, Shape, Shape]:
    shapes = layer.input_shape, layer.weight_shape, layer.output_shape
    return tuple((batch, *shape) for shape in shapes)  # type: ignore[return-value]


def _size(layer: Layer) -> tuple[int, int]:
    return layer.size, layer.size


FORWARD = Subject(
    lambda layer, batch: _images(layer, batch)[:2],
    lambda layer, t: involution2d(*t, *_window(layer)),
    lambda layer, t: reference.involution2d(*t, layer.window),
    lambda layer, batch: layer.window.area,
)
GRAD_INPUT = Subject(
    lambda layer, batch: _images(layer, batch)[2:0:-1],
    lambda layer, t: involution2d_grad_input(*t, _size(layer), *_window(layer)),
    lambda layer, t: reference.involution2d_grad_input(*t, _size(layer), layer.window),
    lambda layer, batch: layer.window.area,
)
GRAD_WEIGHT = Subject(
    lambda layer, batch: _images(layer, batch)[2::-2],
    lambda layer, t: involution2d_grad_weight(*t, _groups(layer), *_window(layer)),
    lambda layer, t: reference.involution2d_grad_weight(*t, _groups(layer), layer.window),
    lambda layer, batch: layer.group_channels,
)


def span_sizes(layer: Layer) -> SpanSizes:
    """Return the sizes by which a fused kernel is chosen."""
    depth = layer.channels // REDUCTION
    return SpanSizes(layer.channels, _groups(layer), depth, layer.window)


def _span_shapes(layer: Layer, batch: int) -> tuple[Shape, ...]:
    """Return the shapes of the reduced images, of the span's weight and of its bias."""
    depth, kernels = layer.channels // REDUCTION, layer.weight_shape[0]
    reduced = (batch, depth, layer.out_size, layer.out_size)
    return reduced, (kernels, depth, 1, 1), (kernels,)


def _kernels(reduced: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the kernels (N, G*K*K, Ho, Wo) that a span makes."""
    return torch.einsum("kd,ndhw->nkhw", weight[:, :, 0, 0], reduced) + bias[:, None, None]


def _exact_span_gradients(layer: Layer, tensors: Tensors) -> Tensors:
    grad, input, reduced, weight = tensors
    kernels = reference.involution2d_grad_weight(grad, input, _groups(layer), layer.window)
    return (
        torch.einsum("kd,nkhw->ndhw", weight[:, :, 0, 0], kernels),
        torch.einsum("nkhw,ndhw->kd", kernels, reduced)[:, :, None, None],
        kernels.sum((0, 2, 3)),
    )


def _span_reason(operator: str) -> Callable[[Layer, Tensors], str | None]:
    def unavailable_reason(layer: Layer, tensors: Tensors) -> str | None:
        device, dtype = tensors[0].device, tensors[0].dtype
        if device.type != "cuda":
            return "fused kernels need a GPU"
        major, minor = torch.cuda.get_device_capability(device)
        sizes, architecture = span_sizes(layer), 10 * major + minor
        return span.unavailable_reason(operator, sizes, dtype, architecture, tensors)

    return unavailable_reason


def _span_terms(layer: Layer, batch: int) -> int:
    return layer.window.area + layer.channels // REDUCTION + 2


SPAN_FORWARD = Subject(
    lambda layer, batch: (_images(layer, batch)[0], *_span_shapes(layer, batch)),
    lambda layer, t: span.span_involution2d(*t, layer.window),
    lambda layer, t: reference.involution2d(t[0], _kernels(*t[1:]), layer.window),
    _span_terms,
    1,
    _span_reason("span_involution2d"),
)
SPAN_GRAD_INPUT = Subject(
    lambda layer, batch: (_images(layer, batch)[2], *_span_shapes(layer, batch)),
    lambda layer, t: span.span_grad_input(*t, _size(layer), layer.window),
    lambda layer, t: reference.involution2d_grad_input(
        t[0], _kernels(*t[1:]), _size(layer), layer.window
    ),
    _span_terms,
    1,
    _span_reason("span_grad_input"),
)
SPAN_GRADIENTS = Subject(
    lambda layer, batch: (*_images(layer, batch)[2::-2], *_span_shapes(layer, batch)[:2]),
    lambda layer, t: span.span_gradients(*t, layer.window),
    _exact_span_gradients,
    lambda layer, batch: (
        layer.group_channels + max(layer.weight_shape[0], batch * layer.out_size**2)
    ),
    1,
    _span_reason("span_gradients"),
)
SUBJECTS = {
    "involution2d": FORWARD,
    "grad_input": GRAD_INPUT,
    "grad_weight": GRAD_WEIGHT,
    "span_involution2d": SPAN_FORWARD,
    "span_grad_input": SPAN_GRAD_INPUT,
    "span_gradients": SPAN_GRADIENTS,
}
