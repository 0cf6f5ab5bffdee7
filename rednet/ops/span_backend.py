"""What a backend has to offer so that an involution and its span are one operator.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rednet.ops.span_sizes import SpanSizes

SPAN_OPERATORS = ("span_involution2d", "span_grad_input", "span_gradients")
"""Names of the operators, in the order of `SpanBackend`."""


def _always(operator: str, sizes: SpanSizes, dtype: torch.dtype, device: torch.device) -> bool:
    return True


@dataclass(frozen=True)
class SpanBackend:
    """Operators that make an involution's kernels on the way and never store them.

    `span_weight` is the weight (G*K*K, D, 1, 1) of the 1x1 convolution that makes the kernels from
    `reduced` (N, D, Ho, Wo), and `span_bias` its bias (G*K*K,) or None.

    Attributes:
        unavailable_reason: (operator, sizes, dtype, device, tensors) to why there is no kernel, or
            None if there is one. Without tensors it answers for channels_last images.
        span_involution2d: (input, reduced, span_weight, span_bias, window) to the output.
        span_grad_input: (grad, reduced, span_weight, span_bias, input_size, window) to the gradient
            of the input; None to compose it, like the next.
        span_gradients: (grad, input, reduced, span_weight, window) to the gradients of `reduced`,
            of the span's weight and of its bias.
        is_preferred: (operator, sizes, dtype, device) to whether that is expected to be faster than
            its composition, which stores the kernels or their gradient.
    """

    unavailable_reason: Callable[..., str | None]
    span_involution2d: Callable[..., Tensor]
    span_grad_input: Callable[..., Tensor] | None = None
    span_gradients: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None
    is_preferred: Callable[[str, SpanSizes, torch.dtype, torch.device], bool] = _always
