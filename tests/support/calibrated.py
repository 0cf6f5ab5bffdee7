"""Networks with random weights whose activations have an ordinary size in every layer."""

import timm
import torch
from torch import Tensor, nn


def calibrated(images: Tensor, network: str = "rednet26", **options) -> nn.Module:
    """Return a network in evaluation mode; its batch norms hold the statistics of the images."""
    torch.manual_seed(0)
    model = timm.create_model(network, **options)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # an average over all batches
            # Small residuals, since activations may grow with the square from block to block.
            nn.init.uniform_(module.weight, *((0.1, 0.2) if name.endswith("bn3") else (0.5, 1.0)))
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        model.train()(images)
    return model.eval()
