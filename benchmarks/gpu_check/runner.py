"""Run a stage in a process of its own, which may crash or hang."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu_check.stages import ROOT, Row, Settings, Stage

OK, SKIPPED, FAILED, LATE = "ok", "skipped", "failed", "out of time"
TAIL = 100_000
"""Characters of a stage's output that are kept."""


@dataclass
class Outcome:
    """What came of a stage.

    Attributes:
        name: Name of the stage.
        status: `OK`, `SKIPPED`, `FAILED` or `LATE`.
        reason: Why it is not `OK`, in a line; empty if it is.
        seconds: Seconds that it took.
        rows: Rows that it has emitted, also one that failed later.
        output: End of what it printed.
    """

    name: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    output: str = ""


def run_stage(stage: Stage, device: str, tiny: bool, seconds: float, path: str) -> Outcome:
    """Run a stage.

    Args:
        stage: The stage.
        device: "cuda:0" or "cpu".
        tiny: Whether this is a dry run.
        seconds: Seconds after which it is ended.
        path: Value of PYTHONPATH.
    """
    with TemporaryDirectory() as folder:
        rows = Path(folder, "rows")
        # The stage knows of an earlier end, so that it can report before it is killed.
        settings = Settings(device, tiny, time.time() + 0.95 * seconds - 1)
        command = [sys.executable, "-m", "benchmarks.gpu_check.worker", stage.name, str(rows)]
        command.append(json.dumps(asdict(settings)))
        environment = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **stage.environment}
        outcome = run_process(stage.name, command, environment, seconds)
        outcome.rows = read_rows(rows)
    judge(outcome)
    return outcome


def run_process(
    name: str, command: Sequence[str], environment: Mapping[str, str], seconds: float
) -> Outcome:
    """Run a command in the checkout, in a session of its own that is killed after some seconds."""
    start = time.monotonic()
    with TemporaryDirectory() as folder, open(Path(folder, "output"), "w+b") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status, reason = _ending(process.wait(timeout=seconds))
        except subprocess.TimeoutExpired:
            status, reason = LATE, f"ended after {seconds:.0f} s"
        finally:
            _kill(process)
        output.seek(0)
        text = output.read().decode(errors="replace")[-TAIL:]
    return Outcome(name, status, reason, round(time.monotonic() - start, 1), output=text)


def _ending(code: int) -> tuple[str, str]:
    if code < 0:
        return FAILED, f"killed by {signal.Signals(-code).name}"
    return (FAILED, f"exit code {code}") if code else (OK, "")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and those that it has started, some of which may outlive it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file whose last one may be incomplete."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def judge(outcome: Outcome) -> None:
    """Let the status say what the rows and the output say of the stage."""
    wrong = sum(row.get("ok") is False for row in outcome.rows)
    if outcome.status == FAILED and (lines := outcome.output.strip().splitlines()):
        outcome.reason += f": {lines[-1].strip()[:200]}"
    elif outcome.status == OK and wrong:
        outcome.status, outcome.reason = FAILED, f"{wrong} of {len(outcome.rows)} rows failed"
    elif outcome.status == OK and outcome.rows and "skipped" in outcome.rows[-1]:
        outcome.status, outcome.reason = SKIPPED, outcome.rows[-1]["skipped"]
