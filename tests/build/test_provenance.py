"""What a run's folder says about where the run comes from."""

import json
import os
import subprocess

import pytest

from rednet.build import provenance
from rednet.build.provenance import PROVENANCE, record_start
from rednet.code_state import CodeState, read_code_state
from rednet.runtime import Runtime

HOSTILE_CONFIG = """
[core]
    fsmonitor = touch fsmonitor-ran
    hooksPath = hooks
    pager = touch pager-ran
    sshCommand = touch ssh-ran
[diff]
    external = touch external-ran
[diff "evil"]
    textconv = touch textconv-ran;
    command = touch driver-ran
[filter "evil"]
    clean = touch filter-ran; cat
    required = true
[alias]
    diff = !touch alias-ran
"""


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit of two files."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "model.py").write_text("width = 1\n")
    (folder / "other.py").write_text("same\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_the_code_is_its_commit_and_a_patch(checkout, tmp_path):
    (checkout / "model.py").write_text("width = 2\n")
    (checkout / "new\n.py").write_text("new = 3\n")
    (checkout / "data.bin").write_bytes(bytes(9))
    index = (checkout / ".git/index").read_bytes()
    state = read_code_state(checkout)
    assert state.problem is None and not state.is_cut
    assert len(state.commit) == 40
    assert state.new_files == ["data.bin", "new\n.py"]
    assert (checkout / ".git/index").read_bytes() == index
    git(tmp_path, "clone", "-q", "code", "again")
    (tmp_path / "code.patch").write_bytes(state.diff)
    git(tmp_path / "again", "apply", "../code.patch")
    assert (tmp_path / "again/model.py").read_text() == "width = 2\n"
    assert (tmp_path / "again/new\n.py").read_text() == "new = 3\n"
    assert not (tmp_path / "again/data.bin").exists()


def test_a_hostile_repository_runs_nothing(checkout):
    with (checkout / ".git/config").open("a") as file:
        file.write(HOSTILE_CONFIG)
    (checkout / ".gitattributes").write_text("* diff=evil filter=evil\n")
    hook = checkout / "hooks/post-index-change"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    (checkout / "model.py").write_text("width = 2\n")
    state = read_code_state(checkout)
    assert b"+width = 2\n" in state.diff
    assert not [name for name in os.listdir(checkout) if name.endswith("-ran")]


def test_git_that_does_not_answer(checkout):
    config = checkout / ".git/config"
    config.unlink()
    os.mkfifo(config)
    state = read_code_state(checkout, timeout_s=0.1)
    assert (state.commit, state.problem) == (None, "git rev-parse takes too long")


def test_no_checkout_and_one_without_a_commit(checkout, tmp_path):
    (checkout / "inside").mkdir()
    assert read_code_state(checkout / "inside") is None
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    assert "rev-parse" in read_code_state(tmp_path / "empty").problem


def test_each_start_is_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SECRET", "hunter2")
    state = CodeState("abc", b"the patch", new_files=["new.py"])
    monkeypatch.setattr(provenance, "code_state", lambda: state)
    record_start(tmp_path, Runtime(), None)
    with (tmp_path / PROVENANCE).open("a") as file:
        file.write('{"cut off')
    record_start(tmp_path, Runtime(), None)
    text = (tmp_path / PROVENANCE).read_text()
    first, _, second = text.splitlines()
    (patch,) = tmp_path.glob("code-*.patch")
    for start in map(json.loads, (first, second)):
        assert start["code"] == {"commit": "abc", "patch": patch.name, "new_files": ["new.py"]}
        assert start["ranks"] == {start["host"]: 1}
        assert {"time", "command", "versions", "machine", "resumed"} <= start.keys()
    assert patch.read_bytes() == b"the patch"
    assert "hunter2" not in text
    assert capsys.readouterr().out == ""
