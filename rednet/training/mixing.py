"""Mixup and CutMix: images of a batch and their labels are blended in pairs, on the device."""

import torch
from timm.data import Mixup
from timm.data.mixup import mixup_target
from torch import Tensor

from rednet.data.seeding import hash_seed, seeded


class Mixing:
    """Blends each batch with its reverse. The draws depend on seed, rank and step only.

    Args:
        mixup: Alpha of Mixup's beta distribution; 0 turns it off.
        cutmix: Alpha of CutMix's beta distribution; with both on, each batch uses one of them.
        label_smoothing: Probability spread over all classes.
        num_classes: Number of classes.
        seed: Seed of the draws.
        rank: Rank of this process.
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
        """Blend a batch.

        Args:
            images: Images (n, C, H, W); changed in place.
            targets: Class indices (n,).
            *moment: Numbers that identify the batch on this rank, such as step and micro-batch.

        Returns:
            Images (n, C, H, W) and probabilities (n, classes). The last image of an odd number
            stays as it is.
        """
        even = len(images) // 2 * 2
        rest = mixup_target(targets[even:], self.num_classes, 1.0, self.label_smoothing)
        if not even:
            return images, rest
        with seeded(hash_seed(self.seed, self.rank, *moment)):
            mixed, soft = self.blend(images[:even], targets[:even])
        return torch.cat([mixed, images[even:]]), torch.cat([soft, rest])
