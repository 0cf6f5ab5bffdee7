from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight
from rednet.ops import Window, backend, involution2d_affine, reference, results
from rednet.ops.checks import affine_dtype
from rednet.ops.native_span import pack_span
from rednet.ops.packed_span import span_involution2d


@pytest.fixture(scope="session")
def unfolded() -> Callable[..., Tensor]:
    """Return the involution written with K*K copies of the input, as in the paper's listing."""

    def involution(input, weight, kernel_size, stride=1, padding=0, dilation=1):
        batch, channels = input.shape[:2]
        size = weight.shape[2:]
        groups = weight.shape[1] // kernel_size**2
        patches = F.unfold(input, kernel_size, dilation, padding, stride)
        patches = patches.reshape(batch, groups, channels // groups, kernel_size**2, *size)
        kernels = weight.reshape(batch, groups, 1, kernel_size**2, *size)
        return (kernels * patches).sum(3).reshape(batch, channels, *size)

    return involution


@pytest.fixture(scope="session")
def expected(unfolded) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Return output and both gradients of an involution in float64, by autograd."""

    def values(input, weight, grad, *window):
        input, weight = (t.detach().double().requires_grad_() for t in (input, weight))
        output = unfolded(input, weight, *window)
        return output, *torch.autograd.grad(output, (input, weight), grad.double())

    return values


@pytest.fixture(scope="session")
def make_case() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Return a function that makes random input, weight and gradient of the output."""

    def make(size, groups, window, batch=2, group_width=3, dtype=torch.float64):
        kernel_size, stride, padding, dilation = window
        reach = dilation * (kernel_size - 1)
        outputs = [(side + 2 * padding - reach - 1) // stride + 1 for side in size]
        generator = torch.Generator().manual_seed(0)
        shapes = [
            (batch, groups * group_width, *size),
            (batch, groups * kernel_size**2, *outputs),
            (batch, groups * group_width, *outputs),
        ]
        return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)

    return make


def inside(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    """Return a part of a larger tensor whose other elements are NaN."""
    shape = [size + 3 for size in tensor.shape]
    around = tensor.new_full(shape, torch.nan).contiguous(memory_format=layout)
    return around[1:-2, 1:-2, 1:-2, 1:-2].copy_(tensor)


def spread(tensor: Tensor) -> Tensor:
    """Return every other element, along each dimension, of a tensor of NaN."""
    around = tensor.new_full([2 * size for size in tensor.shape], torch.nan)
    return around[::2, ::2, ::2, ::2].copy_(tensor)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda t: t.contiguous(),
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "batch_last": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "inside": lambda t: inside(t, torch.contiguous_format),
    "inside_channels_last": lambda t: inside(t, torch.channels_last),
    "spread": spread,
}


@pytest.fixture(scope="session")
def view() -> Callable[[Tensor, str], Tensor]:
    """Return a function that lays the values of a tensor out in a named way."""
    return lambda tensor, name: VIEWS[name](tensor)


@pytest.fixture(params=[None, "reference"], ids=["free", "reference"])
def each_backend(request) -> Iterator[None]:
    """Run a test with the backend that is selected freely, and with the reference."""
    with backend(request.param):
        yield


@pytest.fixture(scope="module")
def only_native() -> Iterator[None]:
    """Force the native backend, with results in memory that was NaN before."""
    with pytest.MonkeyPatch.context() as patch, backend("native"):
        for name in ("empty_result", "empty_like_images"):
            empty = getattr(results, name)
            patch.setattr(results, name, lambda *args, empty=empty: empty(*args).fill_(torch.nan))
        yield


@pytest.fixture(scope="session")
def operators() -> Callable[..., list[Tensor]]:
    """Return a function that calls the three operators."""

    def call(input, weight, grad, groups, window):
        return [
            involution2d(input, weight, *window),
            involution2d_grad_input(grad, weight, input.shape[2:], *window),
            involution2d_grad_weight(grad, input, groups, *window),
        ]

    return call


def exact_values(input: Tensor, weight: Tensor, grad: Tensor, groups: int, window: Window):
    return [
        reference.involution2d(input, weight, window),
        reference.involution2d_grad_input(grad, weight, input.shape[2:], window),
        reference.involution2d_grad_weight(grad, input, groups, window),
    ]


def assert_within(found: Tensor, exact: Tensor, bound: Tensor) -> None:
    """Fail if an error exceeds its bound, or if infinities and NaN differ."""
    finite = exact.isfinite()
    found = found.double()
    torch.testing.assert_close(found[~finite], exact[~finite], equal_nan=True)
    assert ((found - exact).abs() <= bound)[finite].all()


def assert_rounded(found: Tensor, exact: Tensor, finest: torch.dtype, roundings: Tensor) -> None:
    """Fail if an error exceeds some roundings in a dtype, and one more in its own if that differs.

    `roundings` are their number times the magnitude of what is rounded.
    """
    bound = torch.finfo(finest).eps * roundings
    if found.dtype != finest:
        own = torch.finfo(found.dtype)
        bound += exact.abs().clamp(min=own.smallest_normal) * own.eps / 2
    assert_within(found, exact, bound)


@pytest.fixture(scope="session")
def assert_accurate(operators) -> Callable[..., None]:
    """Return a check of the three operators against the reference in float64.

    A sum of n products may be wrong by n + 1 roundings of the sum of their magnitudes, in float32
    for half and bfloat16, whose result is rounded once more.
    """

    def check(input, weight, grad, groups, window):
        case = [tensor.double() for tensor in (input, weight, grad)]
        exact = exact_values(*case, groups, Window(*window))
        magnitudes = exact_values(*(tensor.abs() for tensor in case), groups, Window(*window))
        area = window[0] ** 2
        counts = [area, area, input.shape[1] // groups]
        found = operators(input, weight, grad, groups, window)
        finest = torch.float64 if input.dtype == torch.float64 else torch.float32
        for result, value, magnitude, count in zip(found, exact, magnitudes, counts, strict=True):
            assert result.dtype == input.dtype
            assert_rounded(result, value, finest, (count + 1) * magnitude)

    return check


@pytest.fixture(scope="session")
def assert_affine_accurate() -> Callable[..., None]:
    """Return a check of an involution with scale, shift and ReLU against the reference in float64.

    To the roundings of the sum those of a product and a sum are added.
    """

    def check(input, weight, window, relu):
        finest = affine_dtype(input.dtype)
        generator = torch.Generator().manual_seed(1)
        scale, shift = torch.randn(2, input.shape[1], generator=generator).to(finest)
        vectors = scale.double(), shift.double()
        case, size = (input.double(), weight.double()), Window(*window)
        exact = reference.involution2d_affine(*case, *vectors, relu, size)
        magnitudes = [tensor.abs() for tensor in (*case, *vectors)]
        magnitude = reference.involution2d_affine(*magnitudes, False, size)
        found = involution2d_affine(input, weight, scale, shift, *window, relu=relu)
        assert found.dtype == input.dtype
        assert_rounded(found, exact, finest, (window[0] ** 2 + 3) * magnitude)

    return check


@pytest.fixture(scope="session")
def assert_span_accurate() -> Callable[..., None]:
    """Return a check of an involution with a span against the reference in float64.

    A kernel's value is a sum of D + 1 terms, whose roundings the sum of K*K products takes over.
    Without `relu` (None) there is no scale and no shift.
    """

    def check(input, reduced, groups, window, relu):
        area, depth = window[0] ** 2, reduced.shape[1]
        generator = torch.Generator().manual_seed(1)
        weight = torch.randn(groups * area, depth, 1, 1, generator=generator).to(input.dtype)
        bias = torch.randn(groups * area, generator=generator).to(input.dtype)
        scale, shift = torch.randn(2, input.shape[1], generator=generator)
        if relu is None:
            scale, shift = torch.ones_like(scale), torch.zeros_like(shift)
        tensors = input, reduced, weight, bias, scale, shift
        exact, magnitude = (
            reference.involution2d_affine(
                x, F.conv2d(small, *span), *affine, bool(relu) and not is_bound, Window(*window)
            )
            for is_bound in (False, True)
            for x, small, *rest in [[t.double().abs() if is_bound else t.double() for t in tensors]]
            for span, affine in [(rest[:2], rest[2:])]
        )
        packed = pack_span(weight, bias, area, input.dtype)
        affine = (None, None, False) if relu is None else (scale, shift, relu)
        found = span_involution2d(input, reduced, *packed, *affine, *window)
        assert found.dtype == input.dtype
        assert_rounded(found, exact, torch.float32, (area + depth + 5) * magnitude)

    return check
