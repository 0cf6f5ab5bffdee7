"""The CUDA backend: kernels for NVIDIA GPUs, which CuPy compiles at first use.

A launch goes to torch's current stream. It synchronises nothing and allocates only the result, so
CUDA graphs can capture it. No tensor is copied.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rednet.ops.broken_backend import BackendFailure
from rednet.ops.cuda import installation, modules
from rednet.ops.cuda.launch_config import STORAGE
from rednet.ops.cuda.plan import (
    MAX_GRID_Z,
    Launch,
    plan_grad_input,
    plan_grad_weight,
    plan_involution2d,
)
from rednet.ops.results import empty_grad_input, empty_grad_weight, empty_output
from rednet.ops.window import Window

_Plan = Callable[[Tensor, Tensor, Tensor, Window], Launch]


def unavailable_reason(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why the kernels cannot run on such tensors and what to do, or None if they can.

    The first call for a supported device and dtype compiles a kernel to see whether that works.

    Raises:
        RuntimeError: That first call happens while a CUDA graph is being captured.
    """
    if device.type != "cuda":
        return f"it runs on NVIDIA GPUs, not on {device.type}"
    if dtype not in STORAGE:
        return f"it computes in float32, float16, bfloat16 and float64, not in {dtype}"
    return installation.unavailable_reason(device.index)


def involution2d(input: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution."""
    output = empty_output(input, weight)
    return _run(plan_involution2d, input, weight, output, window)


def involution2d_grad_input(
    grad: Tensor, weight: Tensor, input_size: tuple[int, int], window: Window
) -> Tensor:
    """Return the gradient (N, C, H, W) of the input from `grad` (N, C, Ho, Wo)."""
    output = empty_grad_input(grad, weight, input_size)
    return _run(plan_grad_input, grad, weight, output, window)


def involution2d_grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> Tensor:
    """Return the gradient (N, G*K*K, Ho, Wo) of the weight from `grad` (N, C, Ho, Wo)."""
    output = empty_grad_weight(grad, input, groups, window)
    return _run(plan_grad_weight, grad, input, output, window)


def _run(plan: _Plan, first: Tensor, second: Tensor, output: Tensor, window: Window) -> Tensor:
    """Launch the kernel that writes `output`; write zeros if the sums have no terms."""
    if not (first.numel() and second.numel() and output.numel()):
        return output.zero_()
    # The kernels read memory, where a tensor with torch's negative bit has the opposite sign.
    first, second = first.resolve_neg(), second.resolve_neg()
    if len(output) <= MAX_GRID_Z:
        launch(plan(first, second, output, window), output.device)
        return output
    parts = (tensor.split(MAX_GRID_Z) for tensor in (first, second, output))
    for one, other, result in zip(*parts, strict=True):
        launch(plan(one, other, result, window), output.device)
    return output


def launch(planned: Launch, device: torch.device) -> None:
    """Launch a kernel on the current stream of a device."""
    if device.index == torch.cuda.current_device():
        _launch_here(planned)
    else:
        with torch.cuda.device(device):
            _launch_here(planned)


def _launch_here(launch: Launch) -> None:
    """Launch on the current stream of the current device."""
    kernel = launch.kernel
    function = modules.function(kernel)
    stream = modules.stream(torch.cuda.current_stream().cuda_stream)
    # CuPy passes an array of one structure by value.
    problem = np.frombuffer(launch.problem, dtype=f"V{len(launch.problem)}")
    try:
        function(launch.grid, (kernel.threads, 1, 1), (problem,), stream=stream)
    except Exception as error:
        raise BackendFailure(
            f"{kernel.operator} cannot be launched on grid {launch.grid} with "
            f"{' '.join(kernel.options)}: {error}"
        ) from error
