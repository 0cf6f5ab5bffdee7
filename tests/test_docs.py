"""Every fenced command of the README and of docs/ works as printed.

A fence is marked after its language. `run` is executed, trainings and all tables nightly; `compose`
needs ImageNet or a checkpoint: its configuration is composed; `guide` builds on the fences of its
page before it, and is executed nightly; `skip` is left alone (pip, pytest).
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from rednet import commands
from rednet.config import compose_jobs

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)[ ]?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "train.py": commands.train,
    "scripts/doctor.py": commands.doctor,
    "scripts/evaluate.py": commands.evaluate,
    "scripts/convert_weights.py": commands.convert_weights,
    "scripts/export.py": commands.export,
    "scripts/info.py": commands.info,
    "scripts/predict.py": commands.predict,
    "scripts/paper_tables.py": commands.paper_tables,
    "scripts/report.py": commands.report,
    "scripts/visualize.py": commands.visualize,
    "scripts/build_kernels.py": commands.build_kernels,
}
MARKS = {"bash": {"run", "compose", "guide", "skip"}, "python": {"run", "guide", "skip"}}


@dataclass(frozen=True)
class Fence:
    page: str
    language: str
    mark: str
    text: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line and not line.startswith("#")]


def fences(*languages: str) -> list[Fence]:
    found = [
        Fence(path.name, *match.groups())
        for path in PAGES
        for match in FENCE.finditer(path.read_text())
    ]
    return [fence for fence in found if fence.language in languages]


def command_lines(*marks: str) -> list[tuple[str, str]]:
    """The page and the text of each line of a marked fence."""
    return [(f.page, line) for f in fences("bash") if f.mark in marks for line in f.lines]


def parse(line: str):
    """The command of a line, and its arguments."""
    words = shlex.split(line, comments=True)
    start = words.index("python") if "python" in words else words.index("train.py") - 1
    return PROGRAMS[words[start + 1]], words[start + 2 :]


def test_every_fence_is_marked():
    unmarked = [f for f in fences("bash", "python") if f.mark not in MARKS[f.language]]
    assert not unmarked


@pytest.mark.parametrize(("page", "line"), command_lines("compose", "run", "guide"))
def test_a_command_composes(page, line, capsys):
    command, arguments = parse(line)
    if "-m" in arguments:
        compose_jobs("train", [word for word in arguments if word != "-m"], multirun=True)
    else:
        assert command([*arguments, "--cfg", "job"]) == 0, capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.parametrize(("page", "line"), command_lines("run"))
def test_a_command_runs(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, arguments = parse(line)
    assert command(arguments) == 0


def executed():
    """Python of each page at every commit; nightly where a whole network is optimized."""
    for fence in fences("python"):
        if fence.mark == "run":
            marks = pytest.mark.nightly if fence.page == "speed.md" else ()
            yield pytest.param(fence, id=fence.page, marks=marks)


@pytest.mark.parametrize("fence", list(executed()))
def test_python_runs(fence):
    execute(fence)


def execute(fence):
    exec(compile(fence.text, fence.page, "exec"), {"__name__": fence.page})


@pytest.mark.nightly
@pytest.mark.parametrize("page", sorted({f.page for f in fences("python") if f.mark == "guide"}))
def test_a_guide_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for fence in fences("bash", "python"):
        if (fence.page, fence.mark) != (page, "guide"):
            continue
        if fence.language == "python":
            execute(fence)
            continue
        for line in fence.lines:
            command, arguments = parse(line)
            assert command(arguments) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
