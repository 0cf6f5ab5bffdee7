"""Keys that the device, the optimizer or the data leave without effect.

`rednet.config.effects` has the rules that need nothing but the configuration, and says when a key
has an effect.
"""

from collections.abc import Collection

from timm.optim import get_optimizer_info, list_optimizers

from rednet.config import ConfigError, Optimizer, Trainer, meant_keys
from rednet.data import Splits
from rednet.runtime import Runtime
from rednet.wording import printable


def require_device_effects(
    trainer: Trainer, runtime: Runtime, explicit_keys: Collection[str]
) -> None:
    """Refuse explicit keys that have no effect on this device with these processes.

    Raises:
        ConfigError: There are such keys; one line for each.
    """
    problems, meant = [], meant_keys(explicit_keys)
    device = runtime.device.type
    if trainer.tf32 and "trainer.tf32" in meant and device != "cuda":
        problems.append(f"trainer.tf32: has no effect on {device}, only NVIDIA GPUs have it")
    is_alone = device == "cuda" and runtime.world_size == 1
    if trainer.sync_bn and "trainer.sync_bn" in meant and is_alone:
        problems.append("trainer.sync_bn: has no effect with one process")
    if "trainer.timeout" in meant and runtime.world_size == 1:
        problems.append("trainer.timeout: has no effect with one process")
    if problems:
        raise ConfigError(problems)


def require_optimizer_effects(optimizer: Optimizer, explicit_keys: Collection[str]) -> None:
    """Refuse an explicit momentum that the optimizer does not use.

    Raises:
        ConfigError: The optimizer has no momentum of SGD's kind.
    """
    if (
        "optimizer.momentum" not in meant_keys(explicit_keys)
        or optimizer.name not in list_optimizers()
    ):
        return
    if not get_optimizer_info(optimizer.name).has_momentum:
        raise ConfigError(
            [f"optimizer.momentum: has no effect with optimizer.name={optimizer.name}"]
        )


def require_split_effects(splits: Splits, explicit_keys: Collection[str]) -> None:
    """Refuse an explicit fraction of validation images where the folders are the splits.

    Raises:
        ConfigError: Nothing is split.
    """
    if "data.val_fraction" in meant_keys(explicit_keys) and splits.whole is None:
        folder = printable(splits.origins.get("val", "a folder"))
        raise ConfigError([f"data.val_fraction: has no effect, {folder} has the validation images"])
