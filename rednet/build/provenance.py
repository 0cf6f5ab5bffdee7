"""Where a run comes from: command, code, versions and machine of each start, for its folder."""

import hashlib
import json
import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from rednet.best_effort import BestEffort
from rednet.code_state import CodeState, code_state
from rednet.files import write_atomically
from rednet.machine import compiler_version, describe_hardware
from rednet.runtime import Runtime
from rednet.training.checkpoints import versions
from rednet.weights import Checkpoint

PROVENANCE = "provenance.jsonl"
DIGITS = 8


def record_start(folder: Path, runtime: Runtime, resumed: Checkpoint | None) -> None:
    """Append a line about this start to the run's `PROVENANCE`, if possible.

    All processes call this; the primary one writes. What differs from the commit is a patch beside
    it, which the line names. Of the environment nothing is written.

    Args:
        folder: Folder of the run.
        runtime: Processes of the run.
        resumed: Checkpoint that the run continues from, if any.
    """
    hosts = Counter(runtime.gather(platform.node()))
    if not runtime.is_primary:
        return
    path = folder / PROVENANCE
    with BestEffort("the run goes on without it").write(str(path)):
        start = {
            "time": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": shlex.join(sys.orig_argv),
            "folder": os.getcwd(),
            "host": platform.node(),
            "process": os.getpid(),
            "ranks": dict(hosts),
            "resumed": None if resumed is None else str(resumed.path),
            "code": _describe_code(code_state(), folder),
            "versions": {**versions(), "cuda": torch.version.cuda},
            "machine": {**describe_hardware(runtime.device), "compiler": compiler_version()},
        }
        _append(path, start)


def _describe_code(state: CodeState | None, folder: Path) -> dict[str, Any] | None:
    """Return commit and patch of the code, which is written unless it is there already."""
    if state is None:
        return None
    described = {"commit": state.commit, "patch": None, "new_files": list(state.new_files)}
    if state.diff:
        digest = hashlib.sha256(state.diff).hexdigest()[:DIGITS]
        path = folder / f"code-{digest}.patch"
        if not path.exists():
            write_atomically(path, lambda file: file.write(state.diff))
        described |= {"patch": path.name}
    if state.is_cut:
        described |= {"problem": "the patch is cut off"}
    return {**described, "problem": state.problem} if state.problem else described


def _append(path: Path, start: Mapping[str, Any]) -> None:
    """Append a line; one that a crash has cut off stays on a line of its own."""
    line = json.dumps(start).encode() + b"\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
