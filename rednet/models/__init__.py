"""The RedNet family; importing this registers it with timm."""

from rednet.models.registry import (
    checkpoint_filter_fn,
    rednet26,
    rednet38,
    rednet50,
    rednet101,
    rednet152,
)

__all__ = [
    "checkpoint_filter_fn",
    "rednet26",
    "rednet38",
    "rednet50",
    "rednet101",
    "rednet152",
]
