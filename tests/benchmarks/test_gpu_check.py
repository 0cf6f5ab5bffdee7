"""The check of a GPU: what it does without one."""

import json
import os
import re
import select
import subprocess
import sys
import time
from contextlib import suppress
from zipfile import ZipFile

import pytest
import torch

from benchmarks.gpu_check import accuracy, cli, pytests, runner, sanitizer, wheels
from benchmarks.gpu_check.record import MOST_LINES, to_page, write_record
from benchmarks.gpu_check.runner import FAILED, LATE, OK, SKIPPED, Outcome, judge, run_process
from benchmarks.gpu_check.stages import ROOT, Settings, all_stages
from benchmarks.gpu_check.subjects import SUBJECTS
from benchmarks.layers import Layer

TINY = Settings("cpu", True, time.time() + 3600)


@pytest.fixture
def emitted():
    """The rows that a stage emits; call `emit` of it."""
    rows = []

    def emit(line, **values):
        rows.append({"line": line, **values})

    emit.rows = rows
    return emit


def run_python(code):
    return run_process("stage", [sys.executable, "-u", "-S", "-c", code], {}, 600)


def test_a_stage_that_hangs_is_ended_with_all_that_it_started():
    command = ["sh", "-c", "sleep 600 & echo $!; wait"]
    outcome = run_process("stage", command, {}, 1.0)
    assert (outcome.status, outcome.reason) == (LATE, "ended after 1 s")
    with suppress(ProcessLookupError):  # it has ended, which its descriptor would say
        descriptor = os.pidfd_open(int(outcome.output))
        assert select.select([descriptor], [], [], 60)[0] == [descriptor]
        os.close(descriptor)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "killed by SIGABRT"),
        ("print('before'); raise OSError('no device')", "exit code 1: OSError: no device"),
    ],
)
def test_a_stage_that_crashes_keeps_its_output(code, reason):
    outcome = run_python(code)
    judge(outcome)
    assert (outcome.status, outcome.reason) == (FAILED, reason)
    assert ("before" in outcome.output) == ("before" in code)


def test_rows_decide():
    for rows, status in (
        ([], OK),
        ([{"ok": True}, {"ok": None}], OK),
        ([{"ok": True}, {"ok": False}], FAILED),
        ([{"ok": None, "skipped": "it needs a GPU"}], SKIPPED),
    ):
        outcome = Outcome("stage", OK, rows=rows)
        judge(outcome)
        assert outcome.status == status


def test_rows_of_a_process_that_was_killed_while_it_wrote(tmp_path):
    path = tmp_path / "rows"
    assert runner.read_rows(path) == []
    path.write_text('{"line": "one"}\n{"line": "tw')
    assert runner.read_rows(path) == [{"line": "one"}]


def test_the_page_shows_failures_and_stays_short(tmp_path):
    rows = [{"line": str(number)} for number in range(50)] + [{"line": "wrong", "ok": False}]
    outcomes = [Outcome("operators", FAILED, "1 of 51 rows failed", 2.0, rows, "printed")]
    page = to_page({"commit": "abc"}, outcomes).splitlines()
    assert page[:3] == [
        "commit: abc",
        "[operators] failed (1 of 51 rows failed), 2 s",
        "  wrong",
    ]
    assert len(page) == 2 + MOST_LINES + 1 and page[-1] == "1 failed"
    write_record(tmp_path, {"commit": "abc"}, outcomes)
    content = json.loads((tmp_path / "gpu_check.json").read_text())
    assert content["stages"][0]["rows"] == rows and "output" not in content["stages"][0]
    assert (tmp_path / "gpu_check.log").read_text() == "===== operators: failed\nprinted\n"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".log", ".txt"]


def test_correctness_comes_first_and_modules_exist():
    stages = all_stages()
    assert [stage.name for stage in stages[:3]] == ["versions", "first-backward", "operators"]
    assert len({stage.name for stage in stages}) == len(stages)
    for stage in stages:
        assert (ROOT / "benchmarks" / "gpu_check" / f"{stage.module}.py").is_file()


def test_every_operator_on_a_tiny_layer(emitted):
    accuracy.run(TINY, emitted)
    rows = [row for row in emitted.rows if "case" in row]
    assert [row["operator"] for row in rows] == [*SUBJECTS]
    for row in rows:
        assert row["ok"] if row["reason"] is None else "GPU" in row["reason"]
    assert emitted.rows[-len(SUBJECTS)]["line"].startswith("involution2d: 1 of 1 right, worst")


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_wrong_result_is_found(name, monkeypatch):
    """A result that is off by a thousandth, lacks a value, or is exact."""
    layer, dtype = Layer("tiny", 32, 9, stride=2), torch.float32
    subject = SUBJECTS[name]
    case = accuracy.Case(name, layer, "fp32", "mixed")
    changes = {
        "right": lambda t: t,
        "off": lambda t: t * 1.001,
        "nan": lambda t: t / (t != t.max()),
    }
    for kind, change in changes.items():

        def compute(layer, tensors, change=change):
            exact = subject.exact(layer, [tensor.double() for tensor in tensors])
            results = [exact] if isinstance(exact, torch.Tensor) else exact
            return [change(result).to(dtype) for result in results]

        fake = type(subject)(subject.shapes, compute, subject.exact, subject.terms)
        monkeypatch.setitem(SUBJECTS, name, fake)
        row = accuracy.check_case(case, "cpu")
        assert row["ok"] is (kind == "right"), row


def test_an_operator_that_raises_is_a_row(monkeypatch):
    def raises(layer, tensors):
        raise RuntimeError("CUDA error:\nan illegal memory access")

    subject = SUBJECTS["involution2d"]
    fake = type(subject)(subject.shapes, raises, subject.exact, subject.terms)
    monkeypatch.setitem(SUBJECTS, "involution2d", fake)
    case = accuracy.Case("involution2d", Layer("tiny", 16, 5), "fp32", "contiguous")
    row = accuracy.check_case(case, "cpu")
    assert row["ok"] is False
    assert row["error"] == "RuntimeError: CUDA error: an illegal memory access"


def test_the_report_of_pytest(emitted):
    output = """
tests/a.py::test_one[True-(1, 2)] PASSED                             [ 33%]
tests/a.py::test_two FAILED                                          [ 66%]
tests/a.py::test_three SKIPPED (there is one GPU)                    [100%]
FAILED tests/a.py::test_two - assert 1 == 2
"""
    pytests.report(output, "exit code 1", emitted, ran=True)
    assert [row["line"] for row in emitted.rows] == [
        "FAILED tests/a.py::test_two",
        "1 passed, 1 failed, 1 skipped; exit code 1",
    ]


def test_all_tests_that_need_a_gpu_are_run():
    command, mark = pytests.make_command(), pytests.MARK
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if mark in path.read_text()]
    assert {*pytests.find_files()} == {str(path.relative_to(ROOT)) for path in marked}
    assert {*pytests.find_files()} <= {*command}
    for test in pytests.LEFT_OUT:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()


def test_the_sanitizers_filter_names_all_kernels():
    sources = "".join(path.read_text() for path in (ROOT / "kernels" / "cuda").glob("*.cu*"))
    kernels = re.findall(r"\b(\w+)\(const \w+ \w+\) \{", sources)
    assert kernels
    names = [name for name in kernels if any(part in name for part in sanitizer.KERNELS)]
    assert {"involution2d", "involution2d_grad_input", "involution2d_grad_weight"} <= {*names}


def make_wheel(folder, name, files):
    with ZipFile(folder / f"{name}-1.2-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def test_only_missing_packages_are_unpacked(tmp_path):
    folder, site = tmp_path / "wheels", tmp_path / "site"
    folder.mkdir()
    make_wheel(folder, "not_there", {"not_there/__init__.py": "", "x-1.2.data/scripts/y": ""})
    make_wheel(folder, "in_data", {"in_data-1.2.data/purelib/in_data.py": "VALUE = 3"})
    make_wheel(folder, "pytest", {"pytest.py": "raise OSError"})
    (folder / "damaged-1.0-py3-none-any.whl").write_bytes(b"PK")
    assert wheels.unpack_missing(folder, site) == ["in_data-1.2", "not_there-1.2"]
    found = sorted(str(path.relative_to(site)) for path in site.rglob("*.py"))
    assert found == ["in_data.py", "not_there/__init__.py"]
    assert wheels.unpack_missing(tmp_path / "none", site) == []


def test_a_package_that_is_too_old_is_replaced():
    assert wheels.is_installed("PyTest", (1, 0))
    assert wheels.is_installed("pytest", (8,))
    assert not wheels.is_installed("pytest", (1000, 0))
    assert not wheels.is_installed("not-there-at-all", (0,))


def test_the_packages_to_collect_are_dependencies():
    names = {re.split("[=]", text)[0] for text in wheels.FROM_SOURCE}
    requirements = dict(wheels._requirements())
    assert {*wheels.SELF_CONTAINED, *wheels.ALONE} <= requirements.keys()
    assert not names & requirements.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stages", "sped"], "invalid choice: 'sped'"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--seconds", "long"], "invalid float value: 'long'"),
    ],
)
def test_mistakes(arguments, message, capsys):
    with pytest.raises(SystemExit) as ending:
        cli.main(arguments)
    said = capsys.readouterr().err
    assert ending.value.code == 2 and message in said and said.count("\n") == 1


def test_an_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["--output", str(tmp_path / "file"), "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("error: --output ")


def test_no_time_and_no_gpu(tmp_path, capsys, monkeypatch):
    """Both leave out what follows, and say so."""
    seen = []

    def run_stage(stage, device, tiny, seconds, path):
        seen.append((stage.name, device, tiny, seconds))
        return Outcome(stage.name, FAILED, rows=[{"line": "no GPU", "ok": False, "no_gpu": True}])

    monkeypatch.setattr(cli, "run_stage", run_stage)
    options = ["--stages", "versions", "operators", "--output", str(tmp_path)]
    assert cli.main(options) == 1
    assert seen == [("versions", "cuda:0", False, 30)]
    assert "[operators] skipped (torch sees no GPU" in capsys.readouterr().out
    assert cli.main([*options, "--seconds", "5"]) == 0
    assert "[versions] skipped (no time was left), 0 s" in capsys.readouterr().out


@pytest.mark.nightly
def test_cases_in_several_processes():
    layer = Layer("tiny", 32, 9)
    cases = [accuracy.Case("involution2d", layer, dtype, "mixed") for dtype in accuracy.DTYPES]
    rows = list(accuracy.compute(cases, TINY, 2))
    assert len(rows) == len(cases) and all(row["ok"] for row in rows)
    assert os.getpid() not in {row["process"] for row in rows}


@pytest.mark.nightly
def test_a_dry_run(tmp_path):
    """The whole check from a folder that is not installed, with the smallest sizes."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(ROOT / "scripts" / "gpu_check.py"), "--dry-run"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("\n") <= 100
    content = json.loads((tmp_path / "gpu_check.json").read_text())
    statuses = {stage["name"]: stage["status"] for stage in content["stages"]}
    assert statuses == {
        stage.name: SKIPPED if stage.name == "sanitizer" else OK for stage in all_stages()
    }
