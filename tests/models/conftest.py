from collections.abc import Callable

import pytest
import torch


@pytest.fixture
def images() -> Callable[..., torch.Tensor]:
    """Returns a function that makes the same random images every time."""

    def make(height=32, width=None, batch=2, channels=3):
        generator = torch.Generator().manual_seed(1)
        return torch.randn(batch, channels, height, width or height, generator=generator)

    return make
