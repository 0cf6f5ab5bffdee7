"""Functions that the files in ``configs/`` call, as in ``${rednet.shorten:5,10,${.epochs}}``."""

from typing import Any

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """Make the functions known to OmegaConf; calling it again does no harm."""
    OmegaConf.register_new_resolver("rednet.shorten", _shorten, replace=True)
    OmegaConf.register_new_resolver("rednet.below", _below, replace=True)


def _shorten(value: Any, full_length: float, epochs: Any) -> Any:
    """Scale a number of epochs, or a list of them, down to a short run.

    Args:
        value: Epochs in a run of at least `full_length` epochs.
        full_length: Runs of fewer epochs are short.
        epochs: Length of the run; what is no length is left to the schema.
    """
    if not isinstance(epochs, int) or not 0 < epochs < full_length:
        return value
    if isinstance(value, int | float):
        return value * epochs / full_length
    return [item * epochs / full_length for item in value]


def _below(value: int, epochs: Any) -> int:
    """Return a number of epochs, or one less than the run has if that is smaller."""
    return min(value, epochs - 1) if isinstance(epochs, int) and epochs > 0 else value
