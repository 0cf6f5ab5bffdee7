"""Give networks of random weights activations of an ordinary size in every layer."""

import torch
from torch import Tensor, nn

BATCH = 50
"""Images that a network computes at a time."""


def calibrate(model: nn.Module, images: Tensor) -> nn.Module:
    """Return the network in evaluation mode; its batch norms hold the statistics of the images.

    An image unlike all of them may have activations that grow from involution to involution, as
    each multiplies the image by itself, and rounding errors grow with them.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # an average over all batches
            # Small residuals, since activations may grow with the square from block to block.
            nn.init.uniform_(module.weight, *((0.1, 0.2) if name.endswith("bn3") else (0.5, 1.0)))
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        for batch in images.split(BATCH):
            model.train()(batch)
    return model.eval()
