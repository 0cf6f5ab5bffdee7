"""Logits and features of images, on request averaged over an image and its mirror image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rednet.data import Preprocessing
from rednet.errors import InputError
from rednet.runtime import Normalize, Runtime

Augmentation = Literal["hflip"]
"""What is done to an image at test time: "hflip" also looks at its mirror image."""


@dataclass(frozen=True)
class Predictor:
    """A network, with what it takes to use it.

    Attributes:
        model: The network in evaluation mode, on its device.
        name: Its name in timm.
        class_names: Names of the classes; empty without a classifier.
        preprocessing: Preprocessing of the images.
        runtime: Device and precision.
        tta: Test-time augmentation.
    """

    model: nn.Module
    name: str
    class_names: Sequence[str]
    preprocessing: Preprocessing
    runtime: Runtime
    tta: Augmentation | None = None

    @torch.no_grad()
    def logits(self, images: Tensor, normalize: Normalize | None = None) -> Tensor:
        """Return the logits (N, classes) of preprocessed images, float32 on the CPU.

        Args:
            images: The images.
            normalize: What is left of their preprocessing, see `Runtime.place_images`.
        """
        images = self.runtime.place_images(images, normalize)
        with self.runtime.autocast():
            logits = compute_logits(self.model, images, self.tta)
        return logits.float().cpu()

    @torch.no_grad()
    def logits_and_features(
        self, images: Tensor, normalize: Normalize | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits, and the features (N, features) that the classifier gets."""
        images = self.runtime.place_images(images, normalize)
        with self.runtime.autocast():
            logits, features = compute_logits_and_features(self.model, images, self.tta)
        return logits.float().cpu(), features.float().cpu()


def compute_logits(model: nn.Module, images: Tensor, tta: Augmentation | None = None) -> Tensor:
    """Map images (N, C, H, W) to logits (N, classes).

    With "hflip" these are the logarithms of the mean of two probabilities, those of an image and of
    its mirror image: their softmax is that mean.
    """
    if tta is None:
        return model(images)
    return _mean_of_probabilities(model(images), model(images.flip(-1)))


def compute_logits_and_features(
    model: nn.Module, images: Tensor, tta: Augmentation | None = None
) -> tuple[Tensor, Tensor]:
    """Return the logits (N, classes) and the input of the classifier (N, features).

    With "hflip" the features, too, are the mean of those of an image and of its mirror image.

    Args:
        model: A timm model.
        images: Images (N, C, H, W).
        tta: Test-time augmentation.

    Raises:
        InputError: The network does not tell its features.
    """
    logits, features = _logits_and_features(model, images)
    if tta is None:
        return logits, features
    others = _logits_and_features(model, images.flip(-1))
    return _mean_of_probabilities(logits, others[0]), (features + others[1]) / 2


def _logits_and_features(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    network: Any = model
    if not (hasattr(network, "forward_features") and hasattr(network, "forward_head")):
        name = type(network).__name__
        raise InputError(f"features: {name} has no forward_features and forward_head")
    maps = network.forward_features(images)
    return network.forward_head(maps), network.forward_head(maps, pre_logits=True).flatten(1)


def _mean_of_probabilities(first: Tensor, second: Tensor) -> Tensor:
    dtype = torch.promote_types(first.dtype, torch.float32)
    logarithms = [logits.log_softmax(1, dtype) for logits in (first, second)]
    return torch.logsumexp(torch.stack(logarithms), 0) - math.log(len(logarithms))
