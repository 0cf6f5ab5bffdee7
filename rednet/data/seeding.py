"""Random numbers that depend on named things only, and leave the global generators alone."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def hash_seed(*numbers: int) -> int:
    """Hash whole numbers, in their order, to a seed of 64 bits."""
    text = "/".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@contextmanager
def seeded(seed: int, *, with_numpy: bool = True) -> Iterator[None]:
    """Seed the global generators of random, numpy and torch (CPU); restore all on leaving.

    Keeping and restoring numpy's state takes 0.1 ms, four times the other two together:
    ``with_numpy=False`` leaves numpy alone where nothing draws from it.
    """
    python_state = random.getstate()
    torch_state = torch.default_generator.get_state()
    numpy_state = np.random.get_state(legacy=False) if with_numpy else None
    random.seed(seed)
    # torch.manual_seed would visit every device: 100 times the time.
    torch.default_generator.manual_seed(seed)
    if with_numpy:
        np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python_state)
        torch.default_generator.set_state(torch_state)
        if numpy_state is not None:
            np.random.set_state(numpy_state)
