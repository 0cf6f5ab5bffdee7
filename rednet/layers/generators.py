"""The ways to generate the kernels of an involution from its input.

A generator is two modules. `squeeze` makes from the images (N, C, H, W) something narrow; `expand`
makes from that the kernels (N, G*K*K, Ho, Wo), which depend on the narrow part alone and can so be
made again in the backward pass. At stride s the image is averaged over s x s pixels, fewer at the
edge of an odd size, which gives as many kernels as there are outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

from torch import Tensor, nn

from rednet.layers.conv import LayerType, PointwiseConv2d, make_act, make_norm
from rednet.layers.norm import norm_act
from rednet.layers.pooling import CeilAvgPool2d
from rednet.ops import Window, involution2d_grad_weight


@dataclass(frozen=True)
class KernelSpec:
    """What a generator has to know: C and G, the window, and how narrow its inside is (C/r)."""

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
        """Channels of the generated kernels, G*K*K."""
        return self.groups * self.window.area

    def pool(self) -> nn.Module:
        """The pooling that gives one pixel per output."""
        stride = self.window.stride
        return CeilAvgPool2d(stride) if stride > 1 else nn.Identity()


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
        """(N, C, H, W) to (N, C/r, Ho, Wo)."""
        return norm_act(self.conv(self.pool(x)), self.bn, self.act)


class Span(nn.Module):
    """W1 of the paper: 1x1 convolution with bias from `width` channels to the kernels."""

    def __init__(self, width: int, spec: KernelSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, spec.kernel_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, Ho, Wo) to (N, G*K*K, Ho, Wo)."""
        return self.conv(x)


class QueryKey(nn.Module):
    """Queries of the pooled image and keys of the whole one, some channels for each group."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__()
        head_width = max(1, spec.channels // spec.groups // spec.reduction)
        self.pool = spec.pool()
        self.query = nn.Conv2d(spec.channels, spec.groups * head_width, 1)
        self.key = nn.Conv2d(spec.channels, spec.groups * head_width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to queries (N, G*width, Ho, Wo) and keys (N, G*width, H, W)."""
        return self.query(self.pool(x)), self.key(x)


class Attend(nn.Module):
    """Scores of the query against the keys in its window: the kernel of self-attention.

    Args:
        spec: What the kernels are for.
        head_width: Channels of a query in each group.
        softmax: Normalise the scores over the window.
        relative_position: Add the query's product with a learned vector for each tap.
    """

    def __init__(
        self, spec: KernelSpec, head_width: int, softmax: bool, relative_position: bool
    ) -> None:
        super().__init__()
        self.groups, self.window = spec.groups, spec.window
        self.scale = head_width**-0.5
        self.softmax = self.keeps_result = softmax
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
        """Queries (N, G*width, Ho, Wo), keys (N, G*width, H, W) to kernels (N, G*K*K, Ho, Wo)."""
        query, key = query_and_key
        query = query * self.scale
        window = self.window
        scores = involution2d_grad_weight(
            query,
            key,
            self.groups,
            window.kernel_size,
            window.stride,
            window.padding,
            window.dilation,
        )
        if self.position is not None:
            scores = scores + self.position(query)
        return self._normalise(scores) if self.softmax else scores

    def _normalise(self, scores: Tensor) -> Tensor:
        return scores.unflatten(1, (self.groups, self.window.area)).softmax(2).flatten(1, 2)


Generator = tuple[nn.Module, nn.Module]


def bottleneck(spec: KernelSpec) -> Generator:
    """W1 relu(bn(W0 x)), the paper's generator."""
    return Reduce(spec), Span(max(1, spec.channels // spec.reduction), spec)


def linear(spec: KernelSpec) -> Generator:
    """W x, the ablation's single linear generator."""
    return spec.pool(), Span(spec.channels, spec)


def attention(
    spec: KernelSpec, softmax: bool = False, relative_position: bool = False
) -> Generator:
    """Query times keys of the window, divided by the root of the head's width."""
    squeeze = QueryKey(spec)
    head_width = squeeze.query.out_channels // spec.groups
    return squeeze, Attend(spec, head_width, softmax, relative_position)


GENERATORS: dict[str, Callable[..., Generator]] = {
    "bottleneck": bottleneck,
    "linear": linear,
    "attention": attention,
}


def make_generator(name: str, spec: KernelSpec, options: dict[str, Any]) -> Generator:
    """The two halves of the generator called `name`; ValueError for what does not exist."""
    if name not in GENERATORS:
        raise ValueError(f"no generator is named {name!r}; there is: {', '.join(GENERATORS)}")
    _, *legal = signature(GENERATORS[name]).parameters
    for option in options:
        if option not in legal:
            raise ValueError(
                f"generator {name!r} has no option {option!r}; there is: "
                f"{', '.join(legal) or 'none'}"
            )
    return GENERATORS[name](spec, **options)
