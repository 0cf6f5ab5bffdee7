"""Give networks of random weights activations of an ordinary size in every layer."""

import torch
from torch import Tensor, nn

from rednet.layers import Involution2d

BATCH = 50
"""Images that a network computes at a time."""


def calibrate(model: nn.Module, images: Tensor) -> nn.Module:
    """Return the network in evaluation mode; its batch norms hold the statistics of the images.

    An involution multiplies the image by itself. With random kernels the activations of an image
    unlike the others would grow from layer to layer, and rounding errors with them, so that a
    kernel is mostly its bias here, and a twentieth of its usual size depends on the image.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # an average over all batches
            # Small residuals, since activations may grow with the square from block to block.
            nn.init.uniform_(module.weight, *((0.1, 0.2) if name.endswith("bn3") else (0.5, 1.0)))
            nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, Involution2d):
            _calm(module.conv2)
    with torch.no_grad():
        for batch in images.split(BATCH):
            model.train()(batch)
    return model.eval()


def _calm(generator: nn.Module) -> None:
    """Let a kernel depend less on the image, where a convolution with a bias makes it."""
    for module in generator.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            with torch.no_grad():
                module.weight *= 0.05
            nn.init.normal_(module.bias, std=0.15)
