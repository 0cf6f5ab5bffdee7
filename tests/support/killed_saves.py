"""Kill a process at every point of a save, and look at what it leaves.

Usage, in a process without threads: main(RUN, FOLDER, EVERY). RUN is the folder of a finished run.
Prints a line for each point: its name, and which checkpoint is resumed from, "old" or "new".
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from equal_runs import assert_equal_values, load

from rednet.training.checkpoints import CheckpointStore, Position
from rednet.training.recovery import position_of, read_newest, restore_folder
from rednet.weights import Checkpoint

POINTS = {
    *("open", "close", "write_record", "write_end_of_file", "write", "flush", "fsync"),
    *("replace", "rename", "link", "unlink", "mkdir"),
}
"""Functions in C that a save calls to change a disk."""


class Killer:
    """Counts the calls of a function in C, and kills the process at one of them.

    Args:
        at: Number of the event, from 0; None to count them.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.names: list[str] = []

    def __call__(self, frame: object, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        if event == "c_call" and name in POINTS:
            if len(self.names) == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.names.append(name)


def save(run: Path, content: Any, killer: Killer) -> None:
    """Save an epoch as the trainer's thread does, pruning included."""
    store = CheckpointStore(run, keep_latest=1)
    position = Position(content["train_state"]["epoch"])
    store.load_state_dict(content["train_state"])

    def write() -> None:
        sys.setprofile(killer)
        store.write(content, position)
        sys.setprofile(None)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def points(names: list[str], every: int) -> Iterator[int]:
    """Yield the numbers of events: one in `every` records of the file, and all others."""
    records = 0
    for index, name in enumerate(names):
        is_record = name == "write_record"
        records += is_record
        if not is_record or records % every == 0:
            yield index


def main(run: Path, folder: Path, every: int) -> None:
    """Save the last epoch of a run again, and kill it at each point."""
    new = load(run / "checkpoints" / "last.pt")
    before = folder / "before"
    old = make_before(run, before, Position(new["train_state"]["epoch"]))
    for step in (1, 2, 3):  # one of these files is not kept
        shutil.copy(old.path, before / "checkpoints" / Position(1, step).file_name)
    shutil.copytree(before, folder / "whole")
    counter = Killer()
    save(folder / "whole", new, counter)
    for point in points(counter.names, every):
        copy = folder / str(point)
        shutil.copytree(before, copy)
        child = os.fork()
        if child == 0:
            save(copy, new, Killer(point))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, point
        found = check(copy, old, new)
        print(counter.names[point], found, flush=True)
        shutil.rmtree(copy)


def make_before(run: Path, before: Path, newest: Position) -> Checkpoint:
    """Make the folder as it was before the newest checkpoint; return the one before."""
    (before / "checkpoints").mkdir(parents=True)
    for path in (run / "checkpoints").glob("epoch-*.pt"):
        position = Position.parse(path.name)
        if position is not None and position < newest:
            shutil.copy(path, before / "checkpoints")
    store = CheckpointStore(before, keep_latest=1)
    old = read_newest(store)
    assert old is not None
    store.load_state_dict(old.content["train_state"])
    restore_folder(store, old)
    return old


def check(run: Path, old: Checkpoint, new: Any) -> str:
    """Require a folder that resumes exactly; return whether from the "old" or "new" checkpoint."""
    store = CheckpointStore(run, keep_latest=1)
    newest = read_newest(store)
    assert newest is not None
    position = position_of(newest)
    is_old = position == position_of(old)
    content = dict(old.content) if is_old else new
    assert_equal_values(dict(newest.content), content)
    store.load_state_dict(newest.content["train_state"])
    restore_folder(store, newest)
    assert not list(store.folder.glob(".*"))
    assert_equal_values(load(store.last), content)
    assert load(store.best)["metrics"]["val_top1"] == store.best_top1
    assert store.positions()[0] == position
    return "old" if is_old else "new"
