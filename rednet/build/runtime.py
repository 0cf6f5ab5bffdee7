"""Build the runtime from the configuration: device, precision, memory format, processes."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rednet.build.effects import require_device_effects
from rednet.config import Trainer
from rednet.runtime import Runtime, set_numerics, start_runtime


@contextmanager
def build_runtime(trainer: Trainer, explicit_keys: Collection[str] = ()) -> Iterator[Runtime]:
    """Build the runtime; also select the process's algorithms (`deterministic`, `tf32`).

    Args:
        trainer: Settings of the device.
        explicit_keys: Dotted keys that the user set.

    Raises:
        InputError: The device is not available, or leaves one of the explicit keys without effect.
    """
    set_numerics(deterministic=trainer.deterministic, tf32=trainer.tf32)
    device = trainer.device, trainer.precision, trainer.channels_last
    with start_runtime(*device, trainer.timeout) as runtime:
        require_device_effects(trainer, runtime, explicit_keys)
        yield runtime
