"""Small networks and random images for the figures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rednet import RedNet
from rednet.figures.input_images import InputImages


@pytest.fixture
def make_tiny(make_tiny) -> Callable[..., RedNet]:
    """Return the shared function that makes a small network, here in evaluation mode."""
    return lambda **options: make_tiny(**options).eval()


@pytest.fixture
def make_images() -> Callable[..., InputImages]:
    """Return a function that makes random images."""

    def make(count=3, size=32, channels=3):
        generator = torch.Generator().manual_seed(count)
        inputs = torch.randn(count, channels, size, size, generator=generator)
        rgb = np.random.default_rng(count).random((count, size, size, 3), np.float32)
        return InputImages(tuple(f"image{index}" for index in range(count)), inputs, rgb)

    return make
