"""Find a run's newest valid checkpoint, and put its folder in order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rednet.errors import InputError
from rednet.files import link_atomically, remove_partial_files
from rednet.program import say
from rednet.training.checkpoints import CheckpointStore, Position, upgrade_train_state
from rednet.training.train_state import require_train_state
from rednet.weights import Checkpoint, read_checkpoint
from rednet.wording import printable


def read_newest(store: CheckpointStore, *, epochs_only: bool = False) -> Checkpoint | None:
    """Read the newest valid checkpoint; damaged ones are named and passed over.

    Args:
        store: Checkpoints of a run.
        epochs_only: Whether to pass over checkpoints inside an epoch.

    Returns:
        The checkpoint; None if there is none.

    Raises:
        InputError: There are files, but none that is valid, and not only epochs were asked for.
    """
    positions = [p for p in store.positions() if p.is_epoch_end or not epochs_only]
    paths = [store.folder / position.file_name for position in positions]
    newest = next(filter(None, map(_read, paths)), None)
    if _is_only_name(store.last, paths) and not epochs_only:
        last = _read(store.last)
        if newest is None or (last and position_of(last) > position_of(newest)):
            newest = last
    if newest is None and not epochs_only and (paths or store.last.exists()):
        raise InputError(
            f"{printable(store.folder)} has no checkpoint that can be read: move it away to start "
            "anew, or choose another output_dir"
        )
    return newest


def read_newest_content(store: CheckpointStore) -> dict[str, Any]:
    """Return the content of the newest valid checkpoint.

    Raises:
        InputError: There is none.
    """
    newest = read_newest(store)
    if newest is None:
        raise InputError(f"{printable(store.folder)} has no checkpoint to go back to")
    return newest.content


def _read(path: Path) -> Checkpoint | None:
    """Return a checkpoint; None, with a warning, if it is damaged."""
    try:
        checkpoint = read_checkpoint(path, key="resume")
        require_train_state(checkpoint)
    except InputError as error:
        say(f"warning: passed over: {error}")
        return None
    return checkpoint


def _is_only_name(last: Path, paths: Sequence[Path]) -> bool:
    """Return whether the file that `last` names has no other name."""
    return last.exists() and not any(path.samefile(last) for path in paths)


def position_of(checkpoint: Checkpoint) -> Position:
    """Return where in its run a checkpoint was written."""
    state = upgrade_train_state(checkpoint.content)
    if checkpoint.content.get("metrics") is None:
        return Position(state["epoch"] + 1, state["global_step"])
    return Position(state["epoch"])


def restore_folder(store: CheckpointStore, newest: Checkpoint | None) -> None:
    """Rebuild `last` and `best`, and delete what an interrupted save left.

    Args:
        store: Checkpoints of a run, with the scores that `newest` has; scores of epochs whose file
            is missing or damaged are removed.
        newest: The checkpoint that the run resumes from; None if it is in another folder.
    """
    for folder in (store.folder, store.folder.parent):
        remove_partial_files(folder)
    if newest is not None:
        position = position_of(newest)
        path = store.folder / position.file_name
        if not path.exists():  # only `last` was left
            link_atomically(newest.path, path)
    valid = {e: s for e, s in store.scores.items() if newest and _is_valid(store, e, newest)}
    if valid != store.scores:
        store.scores = valid
        store.best_top1 = max((s for s in valid.values() if s is not None), default=None)
    if newest is not None:
        store.tidy(position)


def _is_valid(store: CheckpointStore, epoch: int, newest: Checkpoint) -> bool:
    """Return whether the file of an epoch can be read."""
    path: Path = store.folder / Position(epoch).file_name
    if path == newest.path:
        return True
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True
