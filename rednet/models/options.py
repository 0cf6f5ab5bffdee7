"""Checks of RedNet's options, before anything is built."""

from collections.abc import Sequence

from rednet.models.variants import STAGES, STEMS

POOLINGS = tuple(
    prefix + kind for prefix in ("", "fast") for kind in ("", "avg", "max", "avgmax", "catavgmax")
)


def check_options(
    layers: Sequence[int],
    output_stride: int,
    stem: str,
    width: float,
    involution_stages: Sequence[int],
) -> None:
    """Raise ValueError for options of `RedNet` that it cannot be built with."""
    if len(layers) != len(STAGES) or min(layers) < 1:
        raise ValueError(f"layers must be four numbers of at least 1, got {list(layers)}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
    if stem not in STEMS:
        raise ValueError(f"no stem is named {stem!r}; choose from {', '.join(STEMS)}")
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    if not set(involution_stages) <= set(STAGES):
        raise ValueError(f"involution_stages must be among 1 to 4, got {list(involution_stages)}")


def check_rates(**rates: float) -> None:
    """Raise ValueError unless all rates are at least 0 and below 1."""
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {rate}")


def check_pooling(pool_type: str, num_classes: int) -> None:
    """Raise ValueError for a pooling unknown to timm, or a classifier without pooling."""
    if pool_type not in POOLINGS:
        raise ValueError(f"global_pool must be one of {POOLINGS}, got {pool_type!r}")
    if not pool_type and num_classes > 0:
        raise ValueError(f"num_classes={num_classes} needs a global_pool; '' needs num_classes=0")
