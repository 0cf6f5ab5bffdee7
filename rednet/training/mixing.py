"""Mixup and CutMix: pairs of pictures of a batch, and of their labels, blended on the device."""

import torch
from timm.data import Mixup
from timm.data.mixup import mixup_target
from torch import Tensor

from rednet.data.seeding import hash_seed, seeded


class Mixing:
    """Blends each batch with its own reverse; what it draws depends on the update and rank only.

    Args:
        mixup: Alpha of Mixup's beta distribution; 0 is off.
        cutmix: Alpha of CutMix's; with both on, each batch takes one of them.
        label_smoothing: Spread over all classes.
        num_classes: Of the targets.
        seed: Of the run.
        rank: Of this process.
    """

    def __init__(
        self,
        mixup: float,
        cutmix: float,
        label_smoothing: float,
        num_classes: int,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        self.blend = Mixup(
            mixup_alpha=mixup,
            cutmix_alpha=cutmix,
            label_smoothing=label_smoothing,
            num_classes=num_classes,
        )
        self.label_smoothing, self.num_classes = label_smoothing, num_classes
        self.seed, self.rank = seed, rank

    def __call__(self, images: Tensor, targets: Tensor, *moment: int) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) and class indices (n,) to images and probabilities (n, classes).

        Args:
            images: Changed in place.
            targets: Class indices.
            *moment: Numbers that no other batch of this rank has.
        """
        even = len(images) // 2 * 2
        rest = mixup_target(targets[even:], self.num_classes, 1.0, self.label_smoothing)
        if not even:
            return images, rest
        with seeded(hash_seed(self.seed, self.rank, *moment)):
            mixed, soft = self.blend(images[:even], targets[:even])
        return torch.cat([mixed, images[even:]]), torch.cat([soft, rest])
