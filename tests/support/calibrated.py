"""Networks with random weights whose activations have an ordinary size in every layer."""

import timm
import torch
from torch import Tensor, nn

from benchmarks.calibration import calibrate


def calibrated(images: Tensor, network: str = "rednet26", **options) -> nn.Module:
    """Return a network in evaluation mode; its batch norms hold the statistics of the images."""
    torch.manual_seed(0)
    return calibrate(timm.create_model(network, **options), images)
