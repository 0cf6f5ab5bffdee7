"""Stage "sanitizer": the kernels under NVIDIA's memcheck and racecheck, if they are there."""

import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.gpu_check.accuracy import Case, check_case
from benchmarks.gpu_check.stages import Emit, Settings
from benchmarks.gpu_check.subjects import SUBJECTS
from benchmarks.layers import Layer

PROGRAM = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck")
KERNELS = ("involution", "span")
"""What the names of our kernels contain; others are not watched, which saves time."""
FOUND = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (.*)")


def run(settings: Settings, emit: Emit) -> None:
    """Run small cases under each tool."""
    program = next(find_program(), None)
    if program is None:
        emit(None, skipped=f"{PROGRAM} is neither on the PATH nor in CUDA's folders or wheels")
        return
    if not settings.on_gpu:
        emit(None, skipped="it needs a GPU")
        return
    for index, tool in enumerate(TOOLS):
        seconds = settings.seconds_left() / (len(TOOLS) - index)
        emit_tool(program, tool, seconds, emit)


def find_program() -> Iterator[Path]:
    """Yield where the program is: on the PATH, in a toolkit, in a wheel."""
    if found := shutil.which(PROGRAM):
        yield Path(found)
    homes = [
        Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")),
        *Path("/usr/local").glob("cuda*"),
    ]
    for home in homes:
        yield from (path for part in ("bin", PROGRAM) if (path := home / part / PROGRAM).is_file())
    for folder in {*site.getsitepackages(), *sys.path}:
        if Path(folder, "nvidia").is_dir():
            yield from Path(folder, "nvidia").rglob(PROGRAM)


def emit_tool(program: Path, tool: str, seconds: float, emit: Emit) -> None:
    """Emit what a tool finds; the memory of tensors is not pooled, so that it sees their ends."""
    command = [str(program), "--tool", tool, "--error-exitcode", "99", "--print-limit", "5"]
    command += ["--report-api-errors", "no"]  # torch asks for what a GPU may lack
    command += [word for name in KERNELS for word in ("--kernel-name", f"kernel_substring={name}")]
    command += [sys.executable, "-m", "benchmarks.gpu_check.sanitizer"]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(1, seconds),
        )
    except subprocess.TimeoutExpired as error:
        print(error.stdout)
        emit(f"{tool}: no result within {seconds:.0f} s", tool=tool, ok=None)
        return
    print(done.stdout)
    summary = FOUND.findall(done.stdout)
    last = summary[-1] if summary else (done.stdout.strip().splitlines() or [""])[-1][:200]
    emit(f"{tool}: {last}", tool=tool, ok=done.returncode == 0)


def main() -> None:
    """Run the small cases: the program that is watched."""
    layers = Layer("stride 1", 32, 9), Layer("stride 2", 32, 9, stride=2)
    dtypes = {"bf16": "channels_last", "fp32": "contiguous"}
    for name in SUBJECTS:
        for layer in layers:
            for dtype, layout in dtypes.items():
                row = check_case(Case(name, layer, dtype, layout, 1), "cuda:0")
                print(row)
                assert row["ok"] is not False, row
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
