"""The folders of runs in the folders that the user names."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rednet.errors import InputError
from rednet.training.metrics import METRICS
from rednet.wording import printable

DEEPEST = 4
"""Levels of folders below the given one in which runs are looked for, as sweeps make them."""
IGNORED = (".", "debug-")
"""How folders begin that are passed over: hidden ones, and those of `debug=MODE`."""
CONFIG, PROVENANCE, CHECKPOINTS = "config.yaml", "provenance.jsonl", "checkpoints"
SIGNS = frozenset((METRICS, PROVENANCE, CONFIG, CHECKPOINTS))
"""What tells the folder of a run; a run that crashed early has only some of them."""


def find_runs(folders: Sequence[str]) -> dict[str, Path]:
    """Return the folders of runs by name.

    Args:
        folders: Each is a run, or contains runs at any of the next levels. An empty folder right
            in one of them counts as a run that wrote nothing.

    Raises:
        InputError: A folder is missing, cannot be read or has no run in it.
    """
    found: dict[str, Path] = {}
    known: set[Path] = set()
    for folder in folders:
        root, runs = Path(folder), _find(folder)
        for run in runs:
            if (resolved := run.resolve()) not in known:
                known.add(resolved)
                found[_free_name(_name(run, root, len(folders) > 1), found)] = run
    return found


def _find(folder: str) -> list[Path]:
    """Return the runs in a folder, which may be one itself."""
    root = Path(folder)
    if not root.is_dir():
        what = "is a file; give its folder" if root.exists() else "no such folder"
        raise InputError(f"runs={printable(folder)}: {what}")
    try:
        os.listdir(root)
    except OSError as error:
        raise InputError(f"runs={printable(folder)}: {error.strerror}") from error
    runs = list(_walk(root, DEEPEST))
    if not any(map(_is_run, runs)):
        raise InputError(
            f"runs={printable(folder)}: has no run; the folder of each has a {METRICS} or {CONFIG}"
        )
    return sorted(runs)


def _walk(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the runs in a folder and its empty subfolders; those it cannot read have none."""
    if _is_run(folder):
        yield folder
        return
    for child in _subfolders(folder) if levels else ():
        is_empty = levels == DEEPEST and not any(_names(child))
        yield from [child] if is_empty else _walk(child, levels - 1)


def _is_run(folder: Path) -> bool:
    return not SIGNS.isdisjoint(_names(folder))


def _subfolders(folder: Path) -> list[Path]:
    names = sorted(name for name in _names(folder) if not name.startswith(IGNORED))
    return [folder / name for name in names if (folder / name).is_dir()]


def _names(folder: Path) -> Iterable[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return ()


def _name(run: Path, root: Path, has_other_roots: bool) -> str:
    """Return how the page calls a run: its path below the given folder, or that folder's name."""
    base = Path(root.resolve().name)
    if run == root:
        return str(base)
    below = run.relative_to(root)
    return str(base / below if has_other_roots else below)


def _free_name(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number if another folder has the same."""
    names, number, free = set(taken), 1, name
    while free in names:
        number += 1
        free = f"{name} ({number})"
    return free
