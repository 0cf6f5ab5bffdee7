"""The cuda backend on the CPU, with another way to run its launches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from rednet.ops import Backend, backend, cuda, register_backend, results
from rednet.ops.cuda import modules, span
from rednet.ops.cuda.plan import Kernel, Launch

HOST = Backend(
    name="cuda-on-host",
    unavailable_reason=lambda device, dtype: None,
    involution2d=cuda.involution2d,
    grad_input=cuda.involution2d_grad_input,
    grad_weight=cuda.involution2d_grad_weight,
)


@contextmanager
def on_host(run: Callable[[Launch], object], architecture: int = 90) -> Iterator[list[Launch]]:
    """Force the cuda backend for CPU tensors, with results in memory that was NaN before.

    Everything between the operators and CuPy's kernels is unchanged.

    Args:
        run: Runs a launch, whose pointers are those of CPU tensors.
        architecture: Compute capability of the GPU.

    Yields:
        The launches so far.
    """
    launches: list[Launch] = []

    def function(kernel: Kernel) -> Callable[..., None]:
        def launch(grid, block, arguments, *, stream):
            assert block == (kernel.threads, 1, 1)
            (problem,) = arguments
            launches.append(Launch(kernel, grid, problem.tobytes()))
            run(launches[-1])

        return launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "function", function)
        patch.setattr(modules, "stream", lambda handle: handle)
        patch.setattr(span, "architecture_of", lambda index: architecture)
        patch.setattr(torch.cuda, "current_device", lambda: None)
        patch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
        empty = results.empty_result
        patch.setattr(results, "empty_result", lambda *args: empty(*args).fill_(torch.nan))
        with register_backend(HOST), backend(HOST.name):
            yield launches
