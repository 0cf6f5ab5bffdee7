"""The three gradients of a span, their exact values, and kernels with faults."""

import pytest
import torch
from host_backend import on_host

from rednet.ops import reference
from rednet.ops.cuda import span


def some_daily(cases, every):
    """Return parameters of which every third or so is tested in every run, the others nightly."""
    marks = [pytest.mark.nightly if number % every else () for number in range(len(cases))]
    rows = [(case,) if isinstance(case, str) else case for case in cases]
    return [pytest.param(*row, marks=mark) for row, mark in zip(rows, marks, strict=True)]


def gradients_of(case):
    return span.span_gradients(case.grad, case.input, case.reduced, case.weight, case.window)


def add_pixels(taps, reduced):
    return torch.einsum("nkhw,ndhw->kd", taps, reduced)[:, :, None, None]


def add_taps(taps, weight):
    return torch.einsum("nkhw,kd->ndhw", taps, weight[:, :, 0, 0])


def assert_accurate(case, found):
    """Check against float64: a tap's sum is rounded to the dtype, what is added after it is not."""
    grad, input, reduced, weight = (
        tensor.double() for tensor in (case.grad, case.input, case.reduced, case.weight)
    )
    groups = weight.shape[0] // case.window.area
    taps = reference.involution2d_grad_weight(grad, input, groups, case.window)
    sizes = reference.involution2d_grad_weight(grad.abs(), input.abs(), groups, case.window)
    own, single = torch.finfo(case.grad.dtype), torch.finfo(torch.float32).eps
    width = input.shape[1] // groups
    errors = (width + 2) * single * sizes + own.eps / 2 * (taps.abs() + own.smallest_normal)
    pixels, ones = reduced[:, 0].numel(), torch.ones_like(reduced[:, :1])
    for result, (add, other, terms) in zip(
        found,
        [
            (add_taps, weight, weight.shape[0]),
            (add_pixels, reduced, pixels),
            (lambda *each: add_pixels(*each)[:, 0, 0, 0], ones, pixels),
        ],
        strict=True,
    ):
        value = add(taps, other)
        bound = add(errors + terms * single * (sizes + errors), other.abs())
        bound += own.eps / 2 * (value.abs() + bound + own.smallest_normal)
        assert result.shape == value.shape and result.dtype == case.grad.dtype
        assert ((result.double() - value).abs() <= bound).all()


def is_right(emulator, text, case, expected, architecture=90):
    """Return whether changed kernels give the right results in some orders."""
    for seed in range(4):
        run = lambda launch, seed=seed: emulator.run(launch, text, seed)  # noqa: E731
        try:
            with on_host(run, architecture):
                found = gradients_of(case)
        except Exception as error:
            assert "span_grad" in str(error)
            return False
        for pair in zip(found, expected, strict=True):
            if not torch.allclose(*pair, rtol=0, atol=0, equal_nan=True):
                return False
    return True
