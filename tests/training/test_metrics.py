"""metrics.jsonl: whatever a crash or an editor left of it, the rows are read and go on."""

import json
import os
import signal
import subprocess
import sys

import pytest

from rednet.training.metrics import METRICS, EpochMetrics, append_row, read_metrics

COLUMNS = list(EpochMetrics.__dataclass_fields__)


def row(number, **values):
    return {**dict.fromkeys(COLUMNS, 0.5), "epoch": number, "global_step": 2 * number, **values}


def line(number, **values):
    return json.dumps(row(number, **values)).encode() + b"\n"


DAMAGED = {
    "half a line": line(1) + line(2) + line(3)[:20],
    "half a line, then others": line(1) + line(3)[:20] + b"\n" + line(2),
    "NUL bytes at the end": line(1) + line(2) + bytes(4096),
    "NUL bytes for a line": line(1) + bytes(100) + b"\n" + line(2),
    "NUL bytes before a row": line(1) + line(3)[:30] + bytes(100) + line(2),
    "text": line(1) + b"epoch 2: top-1 10 %\n" + line(2),
    "no object": line(1) + b"[1, 2]\n3\nnull\n" + line(2),
    "no row": line(1) + b"{}\n" + b'{"epoch": 3}\n' + line(2),
    "types": b"".join(
        [
            *(line(1), line(3, epoch="3"), line(3, epoch=True), line(3, epoch=None)),
            *(line(3, epoch=3.0), line(3, epoch=0), line(3, epoch=2**80), line(3, lr="0.1")),
            *(line(3, val_top1=[1]), line(3, global_step=None), line(3, lr=10**400), line(2)),
        ]
    ),
    "not finite": line(1) + line(3, val_loss=float("nan")) + line(3, lr=float("inf")) + line(2),
    "deeply nested": line(1) + b"[" * 100_000 + b"\n" + line(2),
    "a long integer": line(1) + b'{"epoch": ' + b"9" * 5000 + b"}\n" + line(2),
    "not UTF-8": line(1) + b'{"epoch": 3, "\xff": 1}\n' + line(2),
    "UTF-16": line(1) + '{"epoch": 3}\n'.encode("utf-16") + line(2),
    "an epoch twice": line(1) + line(2, lr=0.1) + line(2),
    "an earlier start": line(1) + line(2, lr=0.1) + line(3)[:9] + b"\n" + line(1) + line(2),
}
UNUSUAL = {
    "a BOM": b"\xef\xbb\xbf" + line(1) + line(2),
    "a BOM in the middle": line(1) + b"\xef\xbb\xbf" + line(2),
    "CR LF": (line(1) + line(2)).replace(b"\n", b"\r\n"),
    "blank lines": b"\n" + line(1) + b"\n \n" + line(2) + b"\n",
    "no newline at the end": line(1) + line(2)[:-1],
    "another order": line(2) + line(1),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_row_is_passed_over_with_a_warning(content, tmp_path, capsys):
    (tmp_path / METRICS).write_bytes(content)
    assert read_metrics(tmp_path) == [row(1), row(2)]
    (warning,) = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"warning: {tmp_path / METRICS} is damaged; passed over: ")


@pytest.mark.parametrize("content", UNUSUAL.values(), ids=UNUSUAL)
def test_what_an_editor_may_do_is_no_damage(content, tmp_path, capsys):
    (tmp_path / METRICS).write_bytes(content)
    assert read_metrics(tmp_path) == [row(1), row(2)]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [*DAMAGED.values(), *UNUSUAL.values(), b"", None])
def test_a_row_is_appended_to_a_file_in_order(content, tmp_path, capsys):
    """After the run has resumed from epoch 1, with the row that its checkpoint has."""
    path = tmp_path / METRICS
    if content is not None:
        path.write_bytes(content)
    append_row(tmp_path, [row(1)], row(2, lr=3.0))
    append_row(tmp_path, [row(1), row(2, lr=3.0)], row(3))
    assert path.read_bytes() == line(1) + line(2, lr=3.0) + line(3)
    assert os.listdir(tmp_path) == [METRICS]


def test_rows_are_appended_in_place(tmp_path):
    append_row(tmp_path, [], row(1))
    inode = (tmp_path / METRICS).stat().st_ino
    append_row(tmp_path, [row(1)], row(2))
    assert (tmp_path / METRICS).stat().st_ino == inode


KILLED_APPEND = """
import json, os, signal, sys
from pathlib import Path
from rednet.training.metrics import append_row

folder, call, rows, row = sys.argv[1:]

def look(frame, event, function):
    if event == "c_call" and function.__name__ == call:
        os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(look)
append_row(Path(folder), json.loads(rows), json.loads(row))
"""


@pytest.mark.parametrize("call", ["open", "write", "flush", "fsync", "replace"])
def test_a_kill_loses_no_row(call, tmp_path):
    """Killed before a call that changes the disk, when the file needs to be made anew."""
    (tmp_path / METRICS).write_bytes(line(1) + line(2) + line(3))
    arguments = [json.dumps(each) for each in ([row(1), row(2)], row(3, lr=7.0))]
    command = [sys.executable, "-c", KILLED_APPEND, str(tmp_path), call, *arguments]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    assert read_metrics(tmp_path) == [row(1), row(2), row(3)]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_replaced(make, tmp_path):
    path = tmp_path / METRICS
    make(path)
    assert read_metrics(tmp_path) == []
    append_row(tmp_path, [row(1)], row(2))
    assert path.read_bytes() == line(1) + line(2)
