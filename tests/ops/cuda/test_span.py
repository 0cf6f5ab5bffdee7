"""The CUDA kernels that make their taps by a span, emulated on the CPU."""

from itertools import product

import pytest
import torch
from span_cases import assert_accurate, make_span_case

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
pytestmark = pytest.mark.usefixtures("on_host")


def layers_of_rednet():
    """Window, size and D of a layer in each dtype; every third in every run, all nightly."""
    windows = [
        *[((7, 1, 3, 1), size, depth) for size, depth in [((7, 7), 128), ((9, 18), 16)]],
        *[((7, 2, 3, 1), size, depth) for size, depth in [((14, 15), 32), ((17, 33), 64)]],
        ((3, 1, 1, 1), (11, 17), 8),
    ]
    for (w, window), (d, dtype) in product(enumerate(windows), enumerate(DTYPES)):
        marks = () if (w + d) % 3 == 0 else pytest.mark.nightly
        yield pytest.param(*window, dtype, marks=marks)


@pytest.mark.parametrize("window, size, depth, dtype", list(layers_of_rednet()))
def test_the_layers_of_rednet(on_host, window, size, depth, dtype):
    assert_accurate(make_span_case(size, 2, window, depth, dtype=dtype))
    names = [launch.kernel.operator for launch in on_host]
    assert names == ["span_involution2d", "span_grad_input"]
