"""Resume a run: find its checkpoint, and refuse that of another run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rednet.build.identity import (
    differences,
    sharding_differences,
    unforceable_differences,
)
from rednet.config import Config
from rednet.errors import InputError
from rednet.layers.pointwise_forms import pointwise_forms
from rednet.program import say
from rednet.ranks.pulse import PULSE
from rednet.training.checkpoints import CheckpointStore
from rednet.training.recovery import (
    position_of,
    read_newest,
    restore_folder,
)
from rednet.training.train_state import load_run_state, require_train_state
from rednet.training.trainer import Trainer
from rednet.weights import Checkpoint, read_checkpoint
from rednet.wording import printable


def find_checkpoint(config: Config, folder: Path) -> Checkpoint | None:
    """Return the checkpoint to resume from, None for a new run.

    Args:
        config: Its `resume` is "auto" (if `folder` holds a run), "force" (even if settings differ),
            "never", or the path of a run or checkpoint.
        folder: Folder that the run writes to.

    Raises:
        InputError: A run that the folder already holds would be lost, or no file can be read.
    """
    own = CheckpointStore(folder)
    holds_run = bool(own.positions()) or own.last.exists()
    if config.resume in ("auto", "force"):
        return read_newest(own)
    if config.resume == "never":
        if holds_run:
            raise InputError(f"{_taken(folder)}, or resume it with resume=auto")
        return None
    path = Path(config.resume)
    newest = read_newest(CheckpointStore(path)) if path.is_dir() else None
    if newest is None:
        newest = read_checkpoint(path, key="resume")
        require_train_state(newest)
    if holds_run and not _is_newest(newest, own):
        raise InputError(
            f"{_taken(folder)}, or take its newest checkpoint by resume=auto; "
            f"resume={printable(path)} is another one"
        )
    return newest


def _taken(folder: Path) -> str:
    return f"output_dir={printable(folder)} already holds a run: choose another folder"


def _is_newest(checkpoint: Checkpoint, store: CheckpointStore) -> bool:
    newest = read_newest(store)
    return newest is not None and newest.path.samefile(checkpoint.path)


def resume(trainer: Trainer, checkpoint: Checkpoint, *, force: bool = False) -> None:
    """Load the state of a run into a trainer that has not started yet.

    If the checkpoint is in another folder, the new run is a fork: it has its own files and its own
    best epoch, and may have other settings.

    Args:
        trainer: The trainer.
        checkpoint: Checkpoint of the run.
        force: Whether to go on although settings differ.

    Raises:
        InputError: The checkpoint belongs to another run.
    """
    store, description = trainer.saver.store, trainer.saver.description
    is_fork = checkpoint.path.resolve().parent != store.folder.resolve()
    changes = differences(checkpoint.content, description)
    _require_same_run(checkpoint, description, changes, may_differ=force or is_fork)
    sharding = sharding_differences(checkpoint.content, description)
    newest = checkpoint
    if changes or sharding:
        checkpoint = trainer.runtime.on_primary(lambda: _at_end_of_epoch(newest))
    own_forms = pointwise_forms()
    load_run_state(trainer, checkpoint)
    if trainer.log.images is not None:
        trainer.log.images.shows_next_step = is_fork
    if any(line.startswith("data.train:") for line in changes):
        trainer.batches.unreadable.forget()
    if not is_fork:
        trainer.saver.saved = trainer.counters
        PULSE.checkpoint = str(checkpoint.path)
    if trainer.runtime.is_primary:
        restore_folder(store, None if is_fork else checkpoint)
        if checkpoint.path != newest.path and not is_fork:
            store.delete_after(position_of(checkpoint))
        for line in changes:
            say(f"changed: {line}")
        if sharding:
            say(f"no longer exact to the last bit: {'; '.join(sharding)}")
        if own_forms != pointwise_forms():
            say("computes 1x1 convolutions as where the run began, which may be slower here")
        say(f"resumed after {_where(trainer)} from {printable(checkpoint.path)}")


def _require_same_run(
    checkpoint: Checkpoint, description: Mapping[str, Any], changes: list[str], *, may_differ: bool
) -> None:
    path = printable(checkpoint.path)
    if unforceable := unforceable_differences(checkpoint.content, description):
        lines = [f"{path} belongs to another run and cannot be loaded:", *unforceable]
    elif changes and not may_differ:
        remedy = "choose another output_dir, or continue with these changes by resume=force:"
        lines = [f"{path} belongs to a run with other settings; {remedy}", *changes]
    else:
        return
    raise InputError(*lines)


def _at_end_of_epoch(checkpoint: Checkpoint) -> Checkpoint:
    """Return the run's newest checkpoint at an epoch's end, if `checkpoint` is inside an epoch.

    With other settings or processes, an epoch cannot be continued as it began. Where there is no
    other checkpoint, it is continued all the same.
    """
    if position_of(checkpoint).is_epoch_end:
        return checkpoint
    store = CheckpointStore(checkpoint.path.parents[1])
    return read_newest(store, epochs_only=True) or checkpoint


def _where(trainer: Trainer) -> str:
    counters = trainer.counters
    if counters.step_in_epoch == 0:
        return f"epoch {counters.epoch}"
    return f"step {counters.global_step}, in epoch {counters.epoch + 1},"
