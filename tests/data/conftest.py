from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rednet.data import Splits, open_fashion_mnist


@pytest.fixture(scope="session")
def fashion_mnist() -> Splits:
    return open_fashion_mnist()


@pytest.fixture
def make_files(tmp_path) -> Callable[..., Path]:
    """Return a function that makes a tree of files of one byte and returns its root.

    A name that ends in "/" is a folder, and "name -> target" is a link.
    """

    def make(*names: str) -> Path:
        for name in names:
            name, _, target = name.partition(" -> ")
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if target:
                path.symlink_to(target)
            elif name.endswith("/"):
                path.mkdir()
            else:
                path.write_bytes(b"1")
        return tmp_path

    return make


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
