"""The folder of each job of a sweep."""

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

MAX_NAME = 100
"""Characters of a name; file systems allow 255 bytes."""


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
    pairs = [text.lstrip("+~").partition("=") for text in overrides]
    own = {key: value for key, _, value in pairs if key not in {*fixed_keys, "output_dir"}}
    return os.path.join(output_dir, _name(own)) if own else output_dir


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
