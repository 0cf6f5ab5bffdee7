"""Want of memory, in whichever words, is one line with advice."""

import errno

import numpy as np
import pytest
import torch

from rednet.memory import explain, is_out_of_memory

TOO_MUCH = 2**58
CUDA = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB"


def raised(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: MemoryError(), "out of memory: "),
        (lambda: raised(lambda: bytearray(TOO_MUCH)), "out of memory: "),
        (lambda: raised(lambda: np.empty(TOO_MUCH, np.uint8)), "out of memory (256. PiB"),
        (
            lambda: raised(lambda: torch.empty(TOO_MUCH, dtype=torch.uint8)),
            f"out of memory ({TOO_MUCH} bytes more were needed): ",
        ),
        (lambda: OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory: "),
        (lambda: torch.OutOfMemoryError(CUDA), "the GPU is out of memory (20.00 MiB more "),
        (lambda: RuntimeError("CUDA error: out of memory"), "the GPU is out of memory: "),
        (lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory: "),
        (lambda: RuntimeError("std::bad_alloc"), "out of memory: "),
    ],
)
def test_it_is_recognised(make, line):
    error = make()
    assert is_out_of_memory(error)
    text = explain(error, batch_size=32, num_workers=4)
    assert text.startswith(line)
    advice = "data.batch_size=16 instead of 32 takes about half, data.num_workers=2 takes less, too"
    assert text.endswith(advice)
    assert "\n" not in text


@pytest.mark.parametrize(
    "error",
    [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError(errno.ENOENT, "no file")],
)
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)


def test_a_single_image_cannot_be_halved():
    assert "image_size" in explain(MemoryError(), batch_size=1)
