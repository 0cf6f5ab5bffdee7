"""The involution layer (Li et al., CVPR 2021, https://arxiv.org/abs/2103.06255)."""

from typing import Any

from torch import Tensor, nn

from rednet.layers.conv import LayerType, init_conv
from rednet.layers.fused_span import fused_span
from rednet.layers.generators import KernelSpec, make_generator
from rednet.layers.kernel_memory import (
    RecomputeKernel,
    check_recompute_kernel,
    is_memory_short,
)
from rednet.layers.recompute import apply_with_recomputed_kernel
from rednet.layers.repeatable import repeatable
from rednet.layers.scripting import NotScriptable
from rednet.ops import Window, involution2d
from rednet.ops.window import Side, as_integer, as_side
from rednet.wording import count


@repeatable
class Involution2d(NotScriptable, nn.Module):
    """The inverse of convolution: one kernel for every pixel, shared by the channels of a group.

    Parameters are named as in the original's `cls/mmcls/models/utils/involution_cuda.py`. Odd sizes
    at stride 2, which the original gets wrong, give ceil(H/s) rows.

    Args:
        channels: Channels C of the input and of the output.
        kernel_size: K, odd; like `stride` and `dilation` alone or as a pair of equal numbers.
        stride: Stride in pixels; kernels are generated from an average pool of that size.
        dilation: Distance of two taps in pixels; the padding keeps the window centred.
        group_channels: Channels that share a kernel, a divisor of C, or "layer" for all of them.
        reduction: r; the inside of the generator has C/r channels.
        generator: "bottleneck", "linear" or "attention", see `rednet.layers.generators`.
        norm_layer: Normalisation inside the bottleneck generator.
        act_layer: Activation inside the bottleneck generator.
        recompute_kernel: Generate the kernels again in the backward pass instead of saving them;
            "auto" does so where memory is short: on an NVIDIA GPU if the saved kernels of the
            network would take more than a tenth of its memory, elsewhere always. Nothing is saved
            where involution and span are one operator, see `rednet.layers.fused_span`.
        generator_options: Further arguments of the generator; "attention" has `softmax` and
            `relative_position`.

    Attributes:
        kernel_share: Bytes of the layer's kernels divided by those of the network's.

    Raises:
        ValueError: K is even, the group does not divide C, or there is no such generator.
    """

    kernel_share = 1.0

    def __init__(
        self,
        channels: int,
        kernel_size: Side = 7,
        stride: Side = 1,
        dilation: Side = 1,
        group_channels: int | str = 16,
        reduction: int = 4,
        generator: str = "bottleneck",
        norm_layer: LayerType = nn.BatchNorm2d,
        act_layer: LayerType = nn.ReLU,
        recompute_kernel: RecomputeKernel = "auto",
        generator_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels = as_integer("channels", channels)
        self.groups = count_groups(channels, group_channels)
        self.window = centred_window(kernel_size, stride, dilation)
        self.recompute_kernel = check_recompute_kernel(recompute_kernel)
        spec = KernelSpec(
            channels,
            self.groups,
            self.window,
            as_integer("reduction", reduction),
            norm_layer,
            act_layer,
        )
        self.conv1, self.conv2 = make_generator(generator, spec, generator_options or {})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init_conv(module)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H/stride), ceil(W/stride))."""
        if self._is_replaced("kernel"):
            return self.apply_kernel(x, self.kernel(x))
        source = self.conv1(x)
        if not self._is_replaced("apply_kernel"):
            output = fused_span(self.conv2, x, source, self.window, self.channels)
            if output is not None:
                return output
        if not self.recomputes(x):
            return self.apply_kernel(x, self.conv2(source))
        keeps = getattr(self.conv2, "keeps_result", False)
        return apply_with_recomputed_kernel(self.apply_kernel, x, self.conv2, source, keeps)

    def recomputes(self, x: Tensor, reduction: int = 1) -> bool:
        """Return whether the kernels for images x are generated again in the backward pass.

        Args:
            x: Images (N, C, H, W), or those that the layer's are made from.
            reduction: Size of x divided by that of the layer's images, per side.
        """
        if self.recompute_kernel != "auto":
            return self.recompute_kernel
        rows = self.groups * self.window.area
        return is_memory_short(x, rows, self.window, self.kernel_share, reduction)

    def _is_replaced(self, method: str) -> bool:
        """Return whether a subclass, or something else, has replaced a method of this class."""
        is_inherited = getattr(type(self), method) is getattr(Involution2d, method)
        return not is_inherited or method in vars(self)

    def kernel(self, x: Tensor) -> Tensor:
        """Return the kernels (N, G*K*K, Ho, Wo) generated for images (N, C, H, W)."""
        return self.conv2(self.conv1(x))

    def apply_kernel(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Return the involution of images (N, C, H, W) with kernels (N, G*K*K, Ho, Wo)."""
        return involution2d(x, kernel, *self.window.sides)

    def extra_repr(self) -> str:
        """Return the layer's numbers, for print(model)."""
        window = self.window
        return (
            f"{self.channels}, kernel_size={window.kernel_size}, stride={window.stride}, "
            f"dilation={window.dilation}, groups={self.groups}"
        )


def count_groups(channels: int, group_channels: int | str) -> int:
    """Return G; raise ValueError unless `group_channels` divides the channels or is "layer"."""
    if group_channels == "layer":
        return 1
    if not isinstance(group_channels, int) or group_channels < 1 or channels % group_channels:
        raise ValueError(
            f"group_channels must be a divisor of {count(channels, 'channel')} or 'layer', "
            f"got {group_channels!r}"
        )
    return channels // group_channels


def centred_window(kernel_size: Side, stride: Side, dilation: Side) -> Window:
    """Return the window whose middle tap is on the pixel; raise ValueError for an even size."""
    kernel_size = as_side("kernel_size", kernel_size)
    stride, dilation = as_side("stride", stride), as_side("dilation", dilation)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, got {kernel_size}")
    return Window(kernel_size, stride, dilation * (kernel_size - 1) // 2, dilation)
