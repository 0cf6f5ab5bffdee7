"""What can happen to a run, by kind: while it runs, and to its folder before it starts again."""

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from zipfile import ZipFile

from forked_commands import Process

DONE = (0,)
KILLED = (-signal.SIGKILL,)
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)  # the latter before Python has a handler


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        strike: Does it to a running process.
        codes: Exit codes that the process may have then; without 0 it must be started again.
        most_lost: Most complete steps that may have to be repeated.
        damage: Damages the run's folder before the next start.
        settings: Settings of the run.
    """

    strike: Callable[[Process, Random], None]
    codes: tuple[int, ...]
    most_lost: int
    damage: Callable[[Path, Random], bool] = lambda *_: False
    settings: tuple[str, ...] = ()


def kill(process: Process, _: Random) -> None:
    """Kill the process and its workers, as the loss of power would."""
    process.send(signal.SIGKILL, group=True)


def stop(process: Process, _: Random) -> None:
    """Ask the process and its workers to stop, as a scheduler would."""
    process.send(signal.SIGTERM, group=True)


def fill_disk(process: Process, random: Random) -> None:
    """Let nothing be written from some step of the loop on, until some steps later."""
    _enter_loop(process)
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    with suppress(ProcessLookupError):  # it has ended
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
        for _ in range(random.randrange(1, 5)):
            process.read_to("  loss ")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def kill_worker(process: Process, random: Random) -> None:
    """Kill a data loading worker."""
    _send_to_worker(process, random, signal.SIGKILL)


def stop_worker(process: Process, random: Random) -> None:
    """Let a data loading worker stand still, as a file system that does not answer would."""
    _send_to_worker(process, random, signal.SIGSTOP)


def damage_newest(folder: Path, moments: Random) -> bool:
    """Damage the newest valid checkpoint; return False if there is no other valid one."""
    paths = sorted((folder / "checkpoints").glob("epoch-*.pt"), key=_position)
    paths = [path for path in paths if _is_valid(path)]
    if len(paths) < 2:
        return False
    path, size = paths[-1], paths[-1].stat().st_size
    match moments.randrange(4):
        case 0:
            path.unlink()
        case 1:
            os.truncate(path, moments.randrange(size))
        case 2:  # a block that the disk has lost
            with path.open("r+b") as file:
                file.seek(moments.randrange(size))
                file.write(os.urandom(512))
        case 3:
            path.write_text("<html>503 Service Unavailable</html>")
    return True


def damage_log(folder: Path, moments: Random) -> bool:
    """Damage metrics.jsonl as a power cut may; return False if there is none."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return False
    size = path.stat().st_size
    match moments.randrange(4):
        case 0:
            path.unlink()
        case 1:
            os.truncate(path, moments.randrange(size + 1))
        case 2:
            with path.open("ab") as file:
                file.write(bytes(moments.randrange(1, 5000)))
        case 3:
            path.write_bytes(bytes(size))
    return True


def _enter_loop(process: Process) -> None:
    """Wait until the run has started."""
    if not any(line.startswith("schedule ") for line in process.lines):
        process.read_to("schedule ")


def _send_to_worker(process: Process, random: Random, number: signal.Signals) -> None:
    """Send a signal to a worker, if one is running."""
    _enter_loop(process)
    with suppress(OSError):  # it has ended
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if workers:
            os.kill(int(random.choice(workers)), number)


def _is_valid(path: Path) -> bool:
    """Return whether a checkpoint, which is a zip archive, has the checksums that it names."""
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damaged names, offsets, checksums
        return False


def _position(path: Path) -> tuple[str, bool, str]:
    """Return the order of checkpoints: the steps of an epoch come before its end."""
    epoch = path.stem[:10]
    return epoch, path.stem == epoch, path.stem


WORKERS = ("data.num_workers=2", "data.timeout=2")

FAULTS = {
    "killed": Fault(kill, KILLED, most_lost=2),
    "stopped": Fault(stop, STOPPED, most_lost=0),
    "checkpoint damaged": Fault(kill, KILLED, most_lost=9, damage=damage_newest),
    "worker killed": Fault(kill_worker, DONE, most_lost=0, settings=WORKERS),
    "worker stands still": Fault(stop_worker, DONE, most_lost=0, settings=WORKERS),
    "disk full": Fault(fill_disk, DONE, most_lost=0),
    "log damaged": Fault(stop, STOPPED, most_lost=0, damage=damage_log),
}
