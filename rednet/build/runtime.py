"""The configured runtime: device, precision, layout, processes."""

from contextlib import AbstractContextManager

from rednet.config import Trainer
from rednet.runtime import Runtime, set_numerics, start_runtime


def build_runtime(trainer: Trainer) -> AbstractContextManager[Runtime]:
    """The runtime that the trainer's settings ask for, algorithms of the process included.

    Raises:
        InputError: The device is not there.
    """
    set_numerics(deterministic=trainer.deterministic, tf32=trainer.tf32)
    return start_runtime(trainer.device, trainer.precision, trainer.channels_last)
