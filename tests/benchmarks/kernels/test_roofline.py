"""Bytes, multiply-adds and least times against hand numbers."""

import pytest

from benchmarks.gpus import GPUS
from benchmarks.kernels.roofline import (
    bytes_per_image,
    multiply_adds_per_image,
    roofline,
)
from benchmarks.layers import layers_of

A100, _, H100 = GPUS


def test_bytes_and_multiply_adds():
    stage1 = layers_of(224)["stage1"]
    elements = (64 + 4 * 49 + 64) * 56 * 56
    assert bytes_per_image(stage1, "float32") == 4 * elements
    assert bytes_per_image(stage1, "bfloat16") == bytes_per_image(stage1, "float16") == 2 * elements
    assert bytes_per_image(stage1, "float64") == 8 * elements
    assert multiply_adds_per_image(stage1) == 64 * 49 * 56 * 56
    first = layers_of(224)["stage2-first"]
    assert bytes_per_image(first, "float32") == 4 * (128 * 56 * 56 + (8 * 49 + 128) * 28 * 28)


def test_times_by_the_datasheets():
    stage1 = layers_of(224)["stage1"]
    line = roofline(stage1, "float32", A100, 108e6)
    assert line.memory == pytest.approx(4 * 324 * 3136 / 1555e9)
    assert line.arithmetic == pytest.approx(2 * 64 * 49 * 3136 / 19.5e12)
    assert line.issue == pytest.approx(1e6 / 4 / 1.41e9)
    assert (line.seconds, line.limit) == (line.memory, "memory")


def test_double_precision_has_its_own_ceiling():
    line = roofline(layers_of(224)["stage1"], "float64", H100, None)
    assert line.arithmetic == pytest.approx(2 * 64 * 49 * 3136 / 33.5e12)
    assert line.issue is None


def test_the_datasheets_figures_fit_together():
    """Operations are 2 a lane and cycle; an A100 has 64 lanes for float32, an H100 128."""
    for gpu, lanes in zip(GPUS, (64, 64, 128), strict=True):
        assert gpu.flops == pytest.approx(2 * lanes * gpu.multiprocessors * gpu.clock, rel=0.01)
        assert gpu.flops64 == pytest.approx(gpu.flops / 2, rel=0.01)
