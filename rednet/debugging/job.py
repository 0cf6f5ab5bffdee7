"""The training in which a mistake is looked for."""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rednet.build.data import take_samples
from rednet.build.starting import Start
from rednet.build.training import build_trainer
from rednet.data import Splits
from rednet.program import say
from rednet.runtime import Runtime
from rednet.signals import StopSignals
from rednet.training.trainer import Trainer
from rednet.weights import Checkpoint

if TYPE_CHECKING:
    from rednet.config import Config, Debug

FAILED = 1
"""Exit code where a mode ran and found a mistake."""


@dataclass(frozen=True)
class DebugJob:
    """What the user would train.

    Attributes:
        config: Whole configuration.
        runtime: Device, precision and processes.
        folder: Folder that the mode writes to.
        splits: The images.
        start: Weights to start from, None for a fresh network.
        checkpoint: Checkpoint of the run to look at, None for one that has not begun.
        signals: Signals that ask to stop.
        print_setup: Prints what is trained on what.
    """

    config: "Config"
    runtime: Runtime
    folder: Path
    splits: Splits
    start: Start | None
    checkpoint: Checkpoint | None
    signals: StopSignals
    print_setup: Callable[[Trainer, "Config"], None]

    @property
    def debug(self) -> "Debug":
        """Settings of the mode."""
        assert self.config.debug is not None
        return self.config.debug

    @property
    def global_batch(self) -> int:
        """Images of a step, over all micro-batches and processes."""
        config = self.config
        return config.data.batch_size * config.trainer.grad_accum_steps * self.runtime.world_size

    def build(self, config: "Config | None" = None, splits: Splits | None = None) -> Trainer:
        """Build the training, or another one; keys that a mode leaves without effect are legal."""
        return build_trainer(
            config or self.config,
            self.runtime,
            self.folder,
            self.start,
            signals=self.signals,
            splits=splits or self.splits,
        )

    def say(self, line: str) -> None:
        """Print a line, once for all processes."""
        if self.runtime.is_primary:
            say(line)

    def fail(self, line: str) -> NoReturn:
        """Print what was found, once for all processes, and end with exit code 1."""
        if self.runtime.is_primary:
            say(f"failed: {line}", sys.stderr)
        raise SystemExit(FAILED)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the mode's folder, on the primary process only; return its path."""
        path = self.folder / name
        if self.runtime.is_primary:
            path.write_text(text, encoding="utf-8")
        return path

    def fewer_images(self, train: int | None, val: int | None) -> Splits:
        """Return the splits with at most so many images, balanced over the classes."""
        parts: dict[str, Any] = {}
        for name, most in (("train", train), ("val", val)):
            source = getattr(self.splits, name)
            limit = None if most is None else min(most, len(source))
            parts[name] = take_samples(source, limit, name)
        return dataclasses.replace(self.splits, **parts)
