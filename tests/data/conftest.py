from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from rednet.data import Splits, open_fashion_mnist


@pytest.fixture(scope="session")
def fashion_mnist() -> Splits:
    return open_fashion_mnist()


@pytest.fixture
def make_images(tmp_path) -> Callable[..., str]:
    """Return a function that writes small images at the given paths and returns their root."""

    def make(*names: str) -> str:
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        return str(tmp_path)

    return make
