"""The generators of an involution's kernels.

A generator is two modules. The first reduces the images (N, C, H, W) to few channels; the second
computes the kernels (N, G*K*K, Ho, Wo) from the reduced images alone, so that the backward pass can
compute them again. At stride s the images are averaged over s x s pixels (fewer at the edge of an
odd size), which gives one kernel per output.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rednet.layers.conv import LayerType, make_act, make_norm
from rednet.layers.norm import norm_act
from rednet.layers.pointwise import PointwiseConv2d
from rednet.layers.pooling import CeilAvgPool2d
from rednet.layers.repeatable import repeatable
from rednet.ops import Window, involution2d_grad_weight


@dataclass(frozen=True)
class KernelSpec:
    """The dimensions and layers of a generator.

    Attributes:
        channels: Channels C of the images.
        groups: Groups G of the involution.
        window: Window of the involution.
        reduction: r; the inside of the generator has C/r channels.
        norm_layer: Normalisation inside the bottleneck generator.
        act_layer: Activation inside the bottleneck generator.
    """

    channels: int
    groups: int
    window: Window
    reduction: int
    norm_layer: LayerType
    act_layer: LayerType

    def __post_init__(self) -> None:
        if self.reduction < 1:
            raise ValueError(f"reduction must be at least 1, got {self.reduction}")

    @property
    def kernel_channels(self) -> int:
        """Channels of the kernels, G*K*K."""
        return self.groups * self.window.area

    def pool(self) -> nn.Module:
        """Create the pooling that leaves one pixel per output."""
        stride = self.window.stride
        return CeilAvgPool2d(stride) if stride > 1 else nn.Identity()


@repeatable
class Reduce(nn.Module):
    """W0 of the paper: pooling, 1x1 convolution to C/r channels, normalisation, activation."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__()
        width = max(1, spec.channels // spec.reduction)
        self.pool = spec.pool()
        self.conv = PointwiseConv2d(spec.channels, width)
        self.bn = make_norm(spec.norm_layer, width)
        self.act = make_act(spec.act_layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C/r, Ho, Wo)."""
        return norm_act(self.conv(self.pool(x)), self.bn, self.act)


@repeatable
class Span(nn.Module):
    """W1 of the paper: 1x1 convolution with bias, from `width` channels to the kernels."""

    def __init__(self, width: int, spec: KernelSpec) -> None:
        super().__init__()
        self.conv = PointwiseConv2d(width, spec.kernel_channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, Ho, Wo) to (N, G*K*K, Ho, Wo)."""
        return self.conv(x)


class QueryKey(nn.Module):
    """Queries from the pooled image and keys from the full one, the same width for each group."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__()
        head_width = max(1, spec.channels // spec.groups // spec.reduction)
        self.pool = spec.pool()
        self.query = nn.Conv2d(spec.channels, spec.groups * head_width, 1)
        self.key = nn.Conv2d(spec.channels, spec.groups * head_width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to queries (N, G*width, Ho, Wo) and keys (N, G*width, H, W)."""
        return self.query(self.pool(x)), self.key(x)


@repeatable
class Attend(nn.Module):
    """The kernels of self-attention: scores of each query with the keys in its window.

    With `softmax` the layer is local self-attention with W^V = I: the involution averages the image
    itself, without a value projection. Taps outside the image are masked: they get no weight.
    Without `softmax` no mask is needed, because those taps read zeros.

    Inside a bottleneck of RedNet, query and key see relu(bn(conv1 x)), not the block's input x.

    Args:
        spec: Dimensions of the generator.
        head_width: Channels of a query in each group.
        softmax: Normalize the scores over the taps inside the image.
        relative_position: Add the query's product with a learned vector for each tap.
    """

    def __init__(
        self, spec: KernelSpec, head_width: int, softmax: bool, relative_position: bool
    ) -> None:
        super().__init__()
        self.groups, self.window = spec.groups, spec.window
        self.scale = head_width**-0.5
        self.softmax = softmax
        self.position = None
        if relative_position:
            self.position = nn.Conv2d(
                spec.groups * head_width,
                spec.kernel_channels,
                1,
                groups=spec.groups,
                bias=False,
            )

    def forward(self, query_and_key: tuple[Tensor, Tensor]) -> Tensor:
        """Map queries (N, G*width, Ho, Wo), keys (N, G*width, H, W) to (N, G*K*K, Ho, Wo)."""
        query, key = query_and_key
        query = query * self.scale
        scores = involution2d_grad_weight(query, key, self.groups, *self.window.sides)
        if self.position is not None:
            scores = scores + self.position(query)
        return self._softmax(scores, key) if self.softmax else scores

    @property
    def keeps_result(self) -> bool:
        """Whether autograd saves the result, see `apply_with_recomputed_kernel`."""
        return self.softmax

    def _softmax(self, scores: Tensor, key: Tensor) -> Tensor:
        size = self.window.kernel_size
        mask = self._mask(key.shape[2:], scores)
        scores = scores.unflatten(1, (self.groups, size, size)) + mask
        return scores.flatten(2, 3).softmax(2).flatten(1, 2)

    def _mask(self, input_size: Sequence[int], scores: Tensor) -> Tensor:
        """Return 0 for taps inside the image and -inf outside, (K, K, Ho, Wo), like `scores`.

        The mask is a view of one padded image, so only H*W numbers are written.
        """
        window = self.window
        image = F.pad(scores.new_zeros(input_size), [window.padding] * 4, value=-math.inf)
        span = window.dilation * (window.kernel_size - 1) + 1
        taps = image.unfold(0, span, window.stride).unfold(1, span, window.stride)
        return taps[..., :: window.dilation, :: window.dilation].permute(2, 3, 0, 1)


Generator = tuple[nn.Module, nn.Module]


def bottleneck(spec: KernelSpec) -> Generator:
    """Create the paper's generator, W1 relu(bn(W0 x))."""
    return Reduce(spec), Span(max(1, spec.channels // spec.reduction), spec)


def linear(spec: KernelSpec) -> Generator:
    """Create the single linear map W x of the paper's ablation."""
    return spec.pool(), Span(spec.channels, spec)


def attention(
    spec: KernelSpec, softmax: bool = False, relative_position: bool = False
) -> Generator:
    """Create the products of query and keys, divided by the square root of the head's width."""
    squeeze = QueryKey(spec)
    head_width = squeeze.query.out_channels // spec.groups
    return squeeze, Attend(spec, head_width, softmax, relative_position)


GENERATORS: dict[str, Callable[..., Generator]] = {
    "bottleneck": bottleneck,
    "linear": linear,
    "attention": attention,
}


def make_generator(name: str, spec: KernelSpec, options: dict[str, Any]) -> Generator:
    """Create both modules of a generator.

    Raises:
        ValueError: There is no such generator, or it has no such option.
    """
    if name not in GENERATORS:
        raise ValueError(f"unknown generator {name!r}: choose from {', '.join(GENERATORS)}")
    _, *legal = signature(GENERATORS[name]).parameters
    for option in options:
        if option not in legal:
            raise ValueError(
                f"generator {name!r} has no option {option!r}; its options: "
                f"{', '.join(legal) or 'none'}"
            )
    return GENERATORS[name](spec, **options)
