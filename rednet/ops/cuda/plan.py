"""Plans launches: which kernel, which grid, which argument.

This needs neither CuPy nor a GPU, so that tests can check it anywhere.
"""

from dataclasses import dataclass
from struct import Struct

from torch import Tensor

from rednet.ops.cuda.launch_config import (
    OPERATORS,
    Kernel,
    LaunchConfig,
    Roles,
    select_kernel,
)
from rednet.ops.cuda.operand import Geometry
from rednet.ops.cuda.tiles import VECTOR_BYTES
from rednet.ops.window import Window

MAX_GRID_Z = 65535
"""Images of a launch, which are the blocks of a grid in z."""

_pack_problem = Struct("Q4qQ4qQ4q8i").pack


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        kernel: The kernel.
        grid: Blocks in x, y and z.
        problem: The kernel's argument, struct Problem of `kernels/cuda/problem.cuh`.
    """

    kernel: Kernel
    grid: tuple[int, int, int]
    problem: bytes


def plan_involution2d(input: Tensor, weight: Tensor, output: Tensor, window: Window) -> Launch:
    """Plan the launch that writes `output` (N, C, Ho, Wo)."""
    return _plan(OPERATORS[0], (input, weight, output), Roles(image=0, taps=1), window)


def plan_grad_input(grad: Tensor, weight: Tensor, result: Tensor, window: Window) -> Launch:
    """Plan the launch that writes the input's gradient `result` (N, C, H, W)."""
    return _plan(OPERATORS[1], (grad, weight, result), Roles(image=2, taps=1), window)


def plan_grad_weight(grad: Tensor, input: Tensor, result: Tensor, window: Window) -> Launch:
    """Plan the launch that writes the weight's gradient `result` (N, G*K*K, Ho, Wo)."""
    return _plan(OPERATORS[2], (grad, input, result), Roles(image=1, taps=2), window)


def _plan(
    operator: str, tensors: tuple[Tensor, Tensor, Tensor], roles: Roles, window: Window
) -> Launch:
    geometries = tuple(map(geometry_of, tensors))
    config = select_kernel(operator, tensors[0].dtype, geometries, roles, window)
    return Launch(config.kernel, config.grid, pack_problem(config, tensors))


def geometry_of(tensor: Tensor) -> Geometry:
    """Return a tensor's sizes, strides and misalignment."""
    return Geometry(tensor.shape, tensor.stride(), tensor.data_ptr() % VECTOR_BYTES)


def pack_problem(config: LaunchConfig, tensors: tuple[Tensor, Tensor, Tensor]) -> bytes:
    """Return struct Problem of `kernels/cuda/problem.cuh` for the tensors of a launch."""
    pointers = (tensor.data_ptr() for tensor in tensors)
    members = [(pointer, *sides) for pointer, sides in zip(pointers, config.strides, strict=True)]
    return _pack_problem(*members[0], *members[1], *members[2], *config.sizes)
