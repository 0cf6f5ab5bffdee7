"""Build the runtime from the configuration: device, precision, memory format, processes."""

from contextlib import AbstractContextManager

from rednet.config import Trainer
from rednet.runtime import Runtime, set_numerics, start_runtime


def build_runtime(trainer: Trainer) -> AbstractContextManager[Runtime]:
    """Build the runtime; also select the process's algorithms (`deterministic`, `tf32`).

    Raises:
        InputError: The device is not available.
    """
    set_numerics(deterministic=trainer.deterministic, tf32=trainer.tf32)
    return start_runtime(trainer.device, trainer.precision, trainer.channels_last)
