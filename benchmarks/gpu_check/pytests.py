"""Stage "pytest": the tests that need a GPU and no Hydra."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter

from benchmarks.gpu_check.stages import ROOT, Emit, Settings

FOLDERS = ("tests/ops", "tests/layers", "tests/benchmarks")
"""Folders whose tests marked `gpu` are run; the others' import Hydra."""
MARK = "pytest.mark.gpu"
LEFT_OUT = ("tests/ops/cuda/test_gpu_streams.py::test_a_long_soak",)
"""Minutes long: `pytest -m gpu` runs it."""
RESULT = re.compile(r"^(\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.MULTILINE)


def make_command() -> list[str]:
    """Return the command: without the options of `pyproject.toml` that need pytest-xdist."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-rfE", "--tb=short"]
    command += ["-o", "addopts=--strict-markers --import-mode=importlib", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("hypothesis"):
        command += ["-p", "benchmarks.gpu_check.short_hypothesis"]
    return [*command, *(f"--deselect={test}" for test in LEFT_OUT), *find_files()]


def find_files() -> list[str]:
    """Return the files with tests marked `gpu`; those of the benchmark draw charts."""
    has_charts = importlib.util.find_spec("matplotlib") is not None
    return [
        str(path.relative_to(ROOT))
        for folder in (FOLDERS if has_charts else FOLDERS[:-1])
        for path in sorted((ROOT / folder).rglob("test_*.py"), reverse=True)
        if MARK in path.read_text(encoding="utf-8")
    ]


def run(settings: Settings, emit: Emit) -> None:
    """Run the tests and emit the failures and the counts, as far as the time goes."""
    process = subprocess.Popen(
        make_command(),
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=max(1, settings.seconds_left()))
        ending = f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        ending = "no time was left for the rest"
    print(output)
    report(output, ending, emit, ran=process.returncode in (0, 1) or "time" in ending)


def report(output: str, ending: str, emit: Emit, ran: bool) -> None:
    """Emit what the output of pytest says; `ran` is whether it got as far as running tests."""
    results = dict(RESULT.findall(output))
    counts = Counter(results.values())
    for test, result in results.items():
        if result in ("FAILED", "ERROR"):
            emit(f"{result} {test}", test=test, ok=False)
    found = ", ".join(f"{number} {result.lower()}" for result, number in counts.items())
    last = (output.strip().splitlines() or [""])[-1]
    emit(f"{found or last}; {ending}", counts=counts, ok=ran)
