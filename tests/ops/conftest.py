from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


@pytest.fixture(scope="session")
def unfolded() -> Callable[..., Tensor]:
    """Returns the involution written with K*K copies of the input, as in the paper's listing."""

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
    """Returns output and both gradients of an involution in float64, by autograd."""

    def values(input, weight, grad, *window):
        input, weight = (t.detach().double().requires_grad_() for t in (input, weight))
        output = unfolded(input, weight, *window)
        return output, *torch.autograd.grad(output, (input, weight), grad.double())

    return values


@pytest.fixture
def make_case() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Returns a function that makes random input, weight and gradient of the output."""

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
