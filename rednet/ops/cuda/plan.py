"""What is launched for an operator: which kernel, on which grid, with which argument.

The arithmetic of a launch, without CuPy and without a GPU, so that every machine can check it.
"""

from dataclasses import dataclass
from struct import Struct

from torch import Tensor

from rednet.ops.cuda.launch_config import OPERATORS, Geometry, Kernel, Roles, select_kernel
from rednet.ops.cuda.tiles import VECTOR_BYTES
from rednet.ops.window import Window

MOST_IMAGES = 65535
"""Images of a launch: blocks of a grid in its third direction."""

_pack_problem = Struct("Q4qQ4qQ4q8i").pack


@dataclass(frozen=True)
class Launch:
    """One call of a kernel.

    Attributes:
        kernel: The kernel.
        grid: Blocks in each direction.
        problem: Its argument, the struct Problem of `kernels/cuda/problem.cuh`.
    """

    kernel: Kernel
    grid: tuple[int, int, int]
    problem: bytes


def plan_involution2d(input: Tensor, weight: Tensor, output: Tensor, window: Window) -> Launch:
    """The launch that writes the `output` (N, C, Ho, Wo) for `input` and `weight`."""
    return _plan(OPERATORS[0], (input, weight, output), Roles(image=0, taps=1), window)


def plan_grad_input(grad: Tensor, weight: Tensor, result: Tensor, window: Window) -> Launch:
    """The launch that writes the gradient `result` (N, C, H, W) for `grad` and `weight`."""
    return _plan(OPERATORS[1], (grad, weight, result), Roles(image=2, taps=1), window)


def plan_grad_weight(grad: Tensor, input: Tensor, result: Tensor, window: Window) -> Launch:
    """The launch that writes the gradient `result` (N, G*K*K, Ho, Wo) for `grad` and `input`."""
    return _plan(OPERATORS[2], (grad, input, result), Roles(image=1, taps=2), window)


def _plan(
    operator: str, tensors: tuple[Tensor, Tensor, Tensor], roles: Roles, window: Window
) -> Launch:
    pointers = [tensor.data_ptr() for tensor in tensors]
    geometries = tuple(
        Geometry(tensor.shape, tensor.stride(), pointer % VECTOR_BYTES)
        for tensor, pointer in zip(tensors, pointers, strict=True)
    )
    config = select_kernel(operator, tensors[0].dtype, geometries, roles, window)
    first, second, result = config.strides
    problem = _pack_problem(
        *(pointers[0], *first), *(pointers[1], *second), *(pointers[2], *result), *config.sizes
    )
    return Launch(config.kernel, config.grid, problem)
