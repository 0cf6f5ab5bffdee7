"""The report as a user gets it, and what it answers where it cannot be made."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kernels import cli, report, toolchain
from benchmarks.kernels.bounds import RESOURCES
from benchmarks.kernels.cases import OPERATORS, KernelCase
from benchmarks.kernels.toolchain import ARCHITECTURES

ROOT = Path(__file__).parents[3]


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.nightly)])
def test_the_report(processes, tmp_path, capsys, monkeypatch):
    cases = [
        KernelCase(layer, operator, "float32", "channels_last")
        for layer in ("stage2", "stage3")
        for operator in OPERATORS
    ]
    monkeypatch.setattr(report, "all_cases", lambda: cases)
    arguments = ["--arch", "80", "--processes", processes, "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "stage2 stage3" in printed and "FFMA:" in printed and str(tmp_path) in printed
    assert "none of 3 kernels spills registers or uses local memory" in printed
    kernels = read(tmp_path / "kernels.csv")
    assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "binds.png").read_bytes().startswith(b"\x89PNG")
    binds = read(tmp_path / "binds.csv")
    assert len(binds) == len(cases) * 2
    assert {row["gpu"] for row in binds} == {"A100 SXM 40 GB", "A100 SXM 80 GB"}
    for row in binds:
        times = {name: float(row[f"{name}_us"]) for name in RESOURCES}
        assert max(times, key=times.get) == row["binds"]
        assert all(time > 0 for name, time in times.items() if name != "tensor")
    assert "A100 SXM 80 GB, float32: bound by " in printed
    assert {row["layers"] for row in kernels} == {"stage2 stage3"}
    assert [row["operator"] for row in kernels] == list(OPERATORS)
    assert {row["arch"] for row in kernels} == {"80"}
    assert {row["nvrtc"] for row in kernels} == {toolchain.compiler_version()}
    for row in kernels:
        opcodes = dict(pair.split(":") for pair in row["opcodes"].split())
        assert sum(map(int, opcodes.values())) == int(row["instructions"])
        assert int(opcodes["FFMA"]) > 0
        assert row["occupancy"] == f"{int(row['blocks']) * int(row['threads']) / 32 / 64:.5g}"


def test_by_default_everything_is_compiled():
    options = cli.parse([])
    assert tuple(options.arch) == ARCHITECTURES
    assert len(options.dtype) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "70"], "invalid choice: 70"),
        (["--dtype", "fp32"], "invalid choice: 'fp32'"),
        (["--processes", "0"], "invalid choice: 0"),
        (["kernels"], "unrecognized arguments: kernels"),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ") and told.count("\n") == 1


@pytest.mark.usefixtures("compiler")
def test_a_file_is_no_folder_for_results(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert cli.main(["--output", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --output {path}: ")


def test_without_cupy_the_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    assert cli.main(["--output", str(tmp_path / "new")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "CuPy" in told and "rednet[cuda13]" in told
    assert list(tmp_path.iterdir()) == []


def test_without_a_disassembler_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain.find_tool.cache_clear()
    try:
        with pytest.raises(toolchain.InputError, match="nvdisasm is neither in triton's wheel"):
            toolchain.find_tool("nvdisasm")
    finally:
        toolchain.find_tool.cache_clear()


def test_the_script_answers_a_mistake_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "kernel_report.py"), "--arch", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: argument --arch: invalid choice: 1")
    assert done.stderr.count("\n") == 1
