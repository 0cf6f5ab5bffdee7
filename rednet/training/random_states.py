"""States of the random generators that a network draws from."""

import random
from collections.abc import Mapping
from typing import Any

import torch

from rednet.data.seeding import hash_seed


def seed_all(*numbers: int) -> None:
    """Seed Python's and torch's generators by a hash of whole numbers."""
    seed = hash_seed(*numbers)
    random.seed(seed)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Return the states of Python's and torch's generators."""
    states = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Restore states that `random_states` returned."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
