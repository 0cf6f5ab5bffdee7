"""W&B offline: a run keeps its id, and has every row once. Nothing touches the network."""

import json
import struct
import sys

import pytest
from PIL import Image

from rednet.errors import InputError
from rednet.loggers.wandb_run import WandbRun, require_wandb

BLOCK, HEAD = 32_768, 7
"""Sizes of LevelDB's log format in bytes, in which W&B writes its records."""


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return pytest.importorskip("wandb", reason='needs pip install "rednet[wandb]"')


def records(path):
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, parts = path.read_bytes(), HEAD, b""
    while position + HEAD <= len(content):
        if (left := BLOCK - position % BLOCK) < HEAD:
            position += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + HEAD : position + HEAD + size]
        position += HEAD + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def read(folder):
    """Return the ids of all starts, the rows, and the settings."""
    found = [
        r for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")) for r in records(path)
    ]
    ids = [record.run.run_id for record in found if record.HasField("run")]
    items = [record.history.item for record in found if record.HasField("history")]
    rows = [
        {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in row} for row in items
    ]
    updates = [u for r in found if r.HasField("run") for u in r.run.config.update]
    return ids, rows, {update.key: json.loads(update.value_json) for update in updates}


def write(folder, first_step, *steps):
    log = WandbRun(folder, first_step)
    log.hparams({"optimizer.lr": 0.1, "model.name": "rednet26"}, "best/top1", first_step)
    log.text("config", "seed: 0\n", first_step)
    log.flush()
    for step in steps:
        log.scalars({"loss": step + 0.5}, step)
        log.scalars({"lr": 0.1}, step)
    return log


def test_a_resumed_run_has_one_id_and_every_row_once(wandb, tmp_path):
    first = write(tmp_path, 1, 1, 2)
    first.image("train/images", Image.new("RGB", (8, 8)), 2)
    first.close()
    write(tmp_path, 2, 2, 3).close()  # it was not saved after step 2
    ids, rows, settings = read(tmp_path)
    assert len(ids) == 2 and len(set(ids)) == 1
    assert [(row["_step"], row["global_step"], row["loss"]) for row in rows] == [
        (0, 1, 1.5),
        (1, 2, 2.5),
        (2, 3, 3.5),
    ]
    assert rows[1]["train/images/_type"] == "image-file"
    assert (settings["optimizer.lr"], settings["model.name"]) == (0.1, "rednet26")


def test_rows_are_kept_until_wandb_takes_them(wandb, tmp_path, monkeypatch):
    def fail(**_):
        raise RuntimeError("no service")

    log = WandbRun(tmp_path, 1)
    log.scalars({"loss": 1.5}, 1)
    with monkeypatch.context() as patch:
        patch.setattr(wandb, "init", fail)
        with pytest.raises(RuntimeError):
            log.flush()
    log.close()
    assert [row["loss"] for row in read(tmp_path)[1]] == [1.5]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"id": 3, "rows": "x", "step": 1}', "\0\0"])
def test_a_damaged_note_of_the_id_begins_another_run(content, wandb, tmp_path):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "rednet.json").write_text(content)
    log = WandbRun(tmp_path, 1)
    log._recall()
    assert len(log._id) == 8


def test_a_folder_is_no_package(tmp_path, monkeypatch):
    """W&B makes a folder of its name wherever it is used."""
    (tmp_path / "empty" / "wandb").mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(tmp_path / "empty")])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(InputError, match='wandb is missing: pip install "rednet\\[wandb\\]"'):
        require_wandb()
