"""Build a run's loggers and what they show."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rednet.build.identity import NEVER_COMPARED
from rednet.config import Config, to_yaml
from rednet.data import ImageSource, Preprocessing
from rednet.loggers.csv_file import CsvFile
from rednet.loggers.group import LoggerGroup
from rednet.loggers.interface import MakeLogger, Setting
from rednet.loggers.tensorboard import TensorBoard
from rednet.loggers.wandb_run import WandbRun, require_wandb
from rednet.runtime import Runtime
from rednet.training.display import Display
from rednet.training.mistakes import WorstMistakes
from rednet.training.run_images import RunImages


def require_loggers(names: Collection[str]) -> None:
    """Check that the packages of all loggers are installed.

    Raises:
        InputError: One is not.
    """
    if "wandb" in names:
        require_wandb()


def build_loggers(config: Config, folder: Path, global_batch: int, runtime: Runtime) -> LoggerGroup:
    """Build the loggers of the primary process; the others have none."""
    makers: dict[str, MakeLogger] = {
        "tensorboard": partial(TensorBoard, folder / "tensorboard"),
        "csv": partial(CsvFile, folder),
        "wandb": partial(WandbRun, folder),
    }
    names: list[str] = [*config.logger] if runtime.is_primary else []
    chosen = {name: makers[name] for name in names}
    settings = {**comparable_settings(config), "global_batch": global_batch}
    return LoggerGroup(chosen, to_yaml(config), settings)


def build_images(
    folder: Path,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    val: ImageSource,
    loggers: LoggerGroup,
    runtime: Runtime,
) -> RunImages:
    """Build what is shown of the images: the first ones, and the worst mistakes."""
    display = Display(class_names, preprocessing.mean, preprocessing.std)
    mistakes = WorstMistakes(runtime, display.thumbnail, val.name_of)
    return RunImages(folder, display, mistakes, loggers, enabled=runtime.is_primary)


def comparable_settings(config: Config) -> dict[str, Setting]:
    """Return the settings by which runs are compared: those of the run, not of its machine."""
    settings = _flatten(dataclasses.asdict(config))
    return {key: value for key, value in settings.items() if key not in NEVER_COMPARED}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Setting]:
    """Return numbers and texts by dotted key, lists as text; null is left out."""
    settings: dict[str, Setting] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            settings |= _flatten(value, f"{prefix}{name}.")
        elif value is not None:
            is_plain = isinstance(value, bool | int | float | str)
            settings[f"{prefix}{name}"] = value if is_plain else str(value)
    return settings
