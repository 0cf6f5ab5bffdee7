"""The jobs of a sweep, and the folder of each."""

import hashlib
import itertools
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_NAME = 100
"""Characters of a name; file systems allow 255 bytes."""


@dataclass
class Job:
    """A job of a sweep that has started.

    Attributes:
        settings: Overrides that only this job has, by key.
        folder: Its output folder; None if the command chooses one.
        state: "running", "complete", "failed" or "stopped".
        reason: Why it failed, in one line.
    """

    settings: dict[str, str]
    folder: str | None
    state: str = "running"
    reason: str = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record how the job ends."""
        try:
            yield
        except Exception as error:
            self.state = "failed"
            self.reason = " ".join(str(error).split()) or type(error).__name__
            raise
        except BaseException:
            self.state = "stopped"
            raise
        self.state = "complete"


def make_sweep_folder() -> Path:
    """Make a new folder for a sweep without an output_dir, and return it.

    Of several processes the first one makes it; what the others return is not used.
    """
    if os.environ.get("RANK", "0") != "0":
        return Path("runs/sweep")
    stem = f"runs/sweep-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        folder = Path(stem if number == 1 else f"{stem}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def share_folders(configs: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether jobs have an output folder in common; a single job may not be the last."""
    folders = [str(config.get("output_dir")) for config in configs]
    return len(folders) == 1 or len({os.path.abspath(folder) for folder in folders}) < len(folders)


def job_folder(output_dir: str, overrides: Sequence[str], fixed_keys: Collection[str]) -> str:
    """Return the folder of one job in the folder of the sweep.

    It is named after the overrides that only this job has, so that the same sweep finds its jobs
    again, and so does a sweep over more values.

    Args:
        output_dir: Folder given for the whole sweep.
        overrides: Overrides of the job, as Hydra passes them to it.
        fixed_keys: Keys with the same value in all jobs.
    """
    own = own_settings(overrides, fixed_keys)
    return os.path.join(output_dir, _name(own)) if own else output_dir


def own_settings(overrides: Iterable[str], fixed_keys: Collection[str]) -> dict[str, str]:
    """Return the overrides that only one job has, by key."""
    pairs = [text.lstrip("+~").partition("=") for text in overrides]
    return {key: value for key, _, value in pairs if key not in {*fixed_keys, "output_dir"}}


def _name(own: Mapping[str, str]) -> str:
    """Return a name such as ``optimizer.lr-0.05+seed-1``, which a command line takes unquoted.

    A digest is appended where characters are replaced or left out, or where upper case would be
    the only difference, which some file systems ignore.
    """
    exact = "+".join(f"{key}-{value}" for key, value in own.items())
    name = "+".join(f"{_plain(key)}-{_plain(value)}" for key, value in own.items())[:MAX_NAME]
    if name == exact.lower():
        return name
    return f"{name}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def _plain(value: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", value, flags=re.ASCII).strip("_")
