"""Small networks and pictures for the figures."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import nn

from rednet import RedNet
from rednet.figures.input_images import Images

TINY = {"width": 0.25, "layers": (1, 2, 1, 1), "num_classes": 7}


@pytest.fixture
def make_tiny() -> Callable[..., RedNet]:
    """Returns a function that makes a small network in evaluation mode, no block a shortcut."""

    def make(**options):
        torch.manual_seed(0)
        model = timm.create_model("rednet26", **{**TINY, **options})
        for name, module in model.named_modules():
            if name.endswith("bn3"):
                nn.init.uniform_(module.weight, 0.5, 1.5)
        return model.eval()

    return make


@pytest.fixture
def make_images() -> Callable[..., Images]:
    """Returns a function that makes pictures of noise."""

    def make(count=3, size=32, channels=3):
        generator = torch.Generator().manual_seed(count)
        inputs = torch.randn(count, channels, size, size, generator=generator)
        shown = np.random.default_rng(count).random((count, size, size, 3), np.float32)
        return Images(tuple(f"image{index}" for index in range(count)), inputs, shown)

    return make
