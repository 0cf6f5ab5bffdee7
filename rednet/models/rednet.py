"""RedNet, a ResNet with involution (Li et al., CVPR 2021, https://arxiv.org/abs/2103.06255).

The network has the interface of timm's models; `rednet.registry` registers it with timm.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.layers import create_classifier
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from rednet.layers import Involution2d, LayerType, RecomputeKernel, init_conv
from rednet.layers.scripting import NotScriptable
from rednet.models.blocks import (
    Bottleneck,
    SpatialLayer,
    Style,
    conv3x3,
    make_stem,
)
from rednet.models.options import check_options, check_pooling, check_rates
from rednet.models.stages import Stage, StagePlan, make_stage, plan_stages, round_width
from rednet.models.variants import EXPANSION, STAGES, STEM_WIDTHS, STEMS, Stem


class RedNet(NotScriptable, nn.Module):
    """A ResNet whose bottlenecks have an involution instead of the 3x3 convolution.

    Args:
        layers: Blocks of each of the four stages.
        num_classes: Outputs of the classifier; 0 for no classifier.
        in_chans: Channels of the images.
        global_pool: Pooling before the classifier, as in timm.
        output_stride: Largest stride of the features, 32, 16 or 8; later stages dilate instead.
        stem: Layers before the first stage, a name in `rednet.models.variants.STEMS`.
        width: Multiplier of all widths, which are rounded to multiples of 16.
        involution_stages: Stages (1 to 4) with involution; the others have a 3x3 convolution.
        kernel_size: Kernel size of the bottlenecks' involutions, like the next five options.
        group_channels: Channels that share a kernel; "layer" for all channels of the layer.
        reduction: Channels of an involution divided by channels inside its kernel generator.
        generator: Kernel generator: "bottleneck", "linear" or "attention".
        generator_options: Further arguments of the generator.
        recompute_kernel: Whether to recompute kernels in the backward pass instead of storing them;
            "auto" where memory is short, see `Involution2d`. The stem's involution has this option,
            too.
        drop_rate: Dropout rate before the classifier.
        drop_path_rate: Drop-path rate of the last block; rates rise linearly from 0.
        norm_layer: Normalisation, a class or timm's name.
        act_layer: Activation, a class or timm's name.

    Raises:
        ValueError: An option has an invalid value, or options do not fit together.
    """

    def __init__(
        self,
        layers: Sequence[int] = (3, 4, 6, 3),
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        output_stride: int = 32,
        stem: str = "involution3",
        width: float = 1.0,
        involution_stages: Sequence[int] = STAGES,
        kernel_size: int = 7,
        group_channels: int | str = 16,
        reduction: int = 4,
        generator: str = "bottleneck",
        generator_options: dict[str, Any] | None = None,
        recompute_kernel: RecomputeKernel = "auto",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_layer: LayerType = nn.BatchNorm2d,
        act_layer: LayerType = nn.ReLU,
    ) -> None:
        super().__init__()
        check_options(layers, output_stride, stem, width, involution_stages)
        check_rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
        if in_chans < 1:
            raise ValueError(f"in_chans must be at least 1, got {in_chans}")
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.global_pool: Any
        self.feature_info: list[dict[str, Any]] = []

        style = Style(norm_layer, act_layer)
        involution = partial(
            _involution,
            kernel_size=kernel_size,
            group_channels=group_channels,
            reduction=reduction,
            generator=generator,
            generator_options=generator_options,
            recompute_kernel=recompute_kernel,
            **style.keywords(),
        )
        self._add_stem(STEMS[stem], width, style, recompute_kernel)
        plans = plan_stages(layers, width, STEMS[stem].reduction, output_stride, drop_path_rate)
        self._add_stages(plans, involution, involution_stages, style)
        self._share_memory(STEMS[stem], plans)
        self.reset_classifier(num_classes, global_pool)
        self.init_weights()

    def _add_stem(
        self, stem: Stem, width: float, style: Style, recompute_kernel: RecomputeKernel
    ) -> None:
        inner, outer = (round_width(channels, width) for channels in STEM_WIDTHS)
        self.stem = make_stem(stem, self.in_chans, inner, outer, style, recompute_kernel)
        self.num_features = outer
        self._add_feature_info("stem", stem.stride)
        if stem.has_max_pool:
            self.maxpool = nn.MaxPool2d(3, 2, 1)

    def _add_stages(
        self,
        plans: list[StagePlan],
        involution: SpatialLayer,
        involution_stages: Sequence[int],
        style: Style,
    ) -> None:
        for stage, plan in zip(STAGES, plans, strict=True):
            spatial = involution if stage in involution_stages else conv3x3
            blocks = make_stage(self.num_features, plan, spatial, style)
            self.add_module(f"layer{stage}", blocks)
            self.num_features = EXPANSION * plan.width
            self._add_feature_info(f"layer{stage}", plan.reduction)

    def _share_memory(self, stem: Stem, plans: list[StagePlan]) -> None:
        """Tell each involution which part of the network's kernels it makes."""
        reductions = [stem.stride, *(plan.reduction for plan in plans)]
        sizes = {
            module: module.groups * module.window.area / reduction**2
            for part, reduction in zip([self.stem, *self._stages()], reductions, strict=True)
            for module in part.modules()
            if isinstance(module, Involution2d)
        }
        for module, size in sizes.items():
            module.kernel_share = size / sum(sizes.values())

    def _add_feature_info(self, module: str, reduction: int) -> None:
        self.feature_info.append(
            {"num_chs": self.num_features, "reduction": reduction, "module": module}
        )

    def init_weights(self) -> None:
        """Initialise as the original does: every block starts as its shortcut."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init_conv(module)
            elif isinstance(module, Bottleneck):
                module.zero_init_last()

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Return patterns that group parameter names by depth, for timm's layer decay."""
        blocks = r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"
        return {"stem": r"^stem", "blocks": blocks}

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: none."""
        return set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Store only the input of each block and recompute the block in the backward pass."""
        self.grad_checkpointing = enable

    @property
    def grad_checkpointing(self) -> bool:
        """Whether the stages store only the input of each block."""
        return any(getattr(stage, "grad_checkpointing", False) for stage in self._stages())

    @grad_checkpointing.setter
    def grad_checkpointing(self, enable: bool) -> None:
        for stage in self._stages():
            stage.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Return the classifier."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier (weights of std 0.01, zero bias) and optionally the pooling.

        Args:
            num_classes: Outputs; 0 for no classifier.
            global_pool: Pooling, as in timm; None keeps the current one.
        """
        self.num_classes = num_classes
        pool_type: str = self.global_pool.pool_type if global_pool is None else global_pool
        check_pooling(pool_type, num_classes)
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=pool_type
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        if isinstance(self.fc, nn.Linear):
            nn.init.normal_(self.fc.weight, std=0.01)
            nn.init.zeros_(self.fc.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to features (N, num_features, ceil(H/32), ceil(W/32))."""
        for _, features in self._stage_outputs(x):  # noqa: B007
            pass
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map features (N, num_features, h, w) to logits (N, num_classes).

        Args:
            x: Features of the last stage.
            pre_logits: Whether to return the classifier's input instead.
        """
        x = self.global_pool(x)
        x = F.dropout(x, self.drop_rate, self.training) if self.drop_rate else x
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return outputs of the stem (index 0) and of the stages (1 to 4), as timm's models do.

        Args:
            x: Images (N, in_chans, H, W).
            indices: Indices of the outputs; the last n if an int, all if None.
            norm: Ignored; every output is already normalised and activated.
            stop_early: Whether to skip the stages after the last one requested.
            output_fmt: Must be "NCHW".
            intermediates_only: Whether to return only the list of outputs.

        Returns:
            A tuple of the last features and the list of outputs, or the list.

        Raises:
            ValueError: `output_fmt` is not "NCHW".
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be 'NCHW', got {output_fmt!r}")
        wanted, last = feature_take_indices(len(self.feature_info), indices)
        intermediates = []
        for index, features in self._stage_outputs(x):
            if index in wanted:
                intermediates.append(features)
            if stop_early and index == last:
                break
        return intermediates if intermediates_only else (features, intermediates)

    def _stage_outputs(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield index and output of the stem and of each stage."""
        x = self.stem(x)
        yield 0, x
        if hasattr(self, "maxpool"):
            x = self.maxpool(x)
        for index, stage in zip(STAGES, self._stages(), strict=True):
            x = stage(x)
            yield index, x

    def _stages(self) -> list[Stage]:
        return [getattr(self, f"layer{stage}") for stage in STAGES]


def _involution(channels: int, stride: int, dilation: int, **options: Any) -> Involution2d:
    return Involution2d(channels, stride=stride, dilation=dilation, **options)
