"""The page holds whatever names say as text, and is one file."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from written_runs import add_mistakes

from rednet import commands
from rednet.comparison import page
from rednet.comparison.reading import read_run

NOW = datetime(2026, 11, 30, tzinfo=UTC)
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover='x",
    "{{ 7 * 7 }}{% raw %}",
    "${x}`\\u003c",
    "\u202eevil \u05d0\u05d1\u05d2",
    "long" * 300,
]


class Scripts(HTMLParser):
    """Collects the texts of the scripts, and the names of all elements."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.elements = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        if tag == "script":
            self.scripts.append([dict(attrs).get("id"), ""])

    def handle_data(self, data):
        if self.scripts and self.elements[-1] == "script":
            self.scripts[-1][1] += data


@pytest.fixture(autouse=True)
def _no_library(monkeypatch):
    """Bundling Vega takes two seconds; the browser's test does it."""
    monkeypatch.setattr(page, "charting_library", lambda: ("", "6"))


def hostile_run(make_run, text):
    folder = make_run("a")
    add_mistakes(folder, text, text)
    config = json.dumps({"model": {"name": text}, text.replace("\u202e", ""): {text[-9:]: text}})
    (folder / "config.yaml").write_text(config)
    (folder / "provenance.jsonl").write_text(json.dumps({"command": text, "time": text}))
    return read_run(text, folder, 12)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_in_the_json(make_run, text):
    plain = Scripts(page.render([read_run("a", make_run("plain"), 12)], NOW))
    html = page.render([hostile_run(make_run, text)], NOW)
    found = Scripts(html)
    assert found.elements == plain.elements
    name, content = found.scripts[0]
    shown = json.loads(content)["runs"][0]
    assert name == "document" and shown["name"].isprintable()
    expected = text.replace("\u202e", "\\u202e")
    assert shown["name"] == (expected if len(text) < 400 else f"{text[:400]}...")
    assert html.count("<script>alert") == html.count("<img src=x") == 0


def test_the_page_names_no_other_file(make_run):
    html = page.render([read_run("a", make_run("a"), 12)], NOW)
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert links and all(link.startswith("#") for link in links)
    assert "default-src 'none'" in html and "url(" not in html and "@import" not in html


def test_every_template_is_used():
    texts = "".join(path.read_text() for path in page.TEMPLATES.rglob("*") if path.is_file())
    for path in page.TEMPLATES.rglob("*.*"):
        assert path.name == "page.html.j2" or path.relative_to(page.TEMPLATES).as_posix() in texts


def test_the_command(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run("runs/a")
    (make_run("runs/b") / "config.yaml").unlink()
    assert commands.report(["runs=runs", "count_macs=false"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "warning: b: no config.yaml"
    assert out[1].startswith("2 runs compared in report.html, 0.")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "error: runs=FOLDER is needed: a run, or a folder of runs"),
        (["runs=nowhere"], "error: runs=nowhere: no such folder"),
        (["runs=[runs,nowhere]"], "error: runs=nowhere: no such folder"),
        (["runs=runs", "output=x.pdf"], "error: output=x.pdf: must end in .html"),
        (["runs=runs", "output=old.html"], "error: output=old.html: exists; overwrite=true repl"),
    ],
)
def test_mistakes_of_the_user(make_run, tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    make_run("runs/a")
    (tmp_path / "old.html").touch()
    assert commands.report(arguments) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(line)


def test_a_missing_package(make_run, tmp_path, capsys, monkeypatch):
    make_run("runs/a")
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    assert commands.report([f"runs={tmp_path}"]) == 2
    assert capsys.readouterr().err == (
        'error: report needs vl_convert: pip install "rednet[report]"\n'
    )
