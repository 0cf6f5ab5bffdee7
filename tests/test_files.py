import os

import pytest

from rednet.files import link_atomically, write_atomically


def test_a_failed_write_keeps_the_existing_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write(b"1"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, lambda file: file.write(b"2"))
    monkeypatch.undo()
    assert path.read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["file"]


def test_missing_folders_are_created(tmp_path):
    write_atomically(tmp_path / "a" / "b", lambda file: file.write(b"1"))
    assert (tmp_path / "a" / "b").read_bytes() == b"1"


def test_a_link_is_moved_to_another_file(tmp_path):
    first, second, name = (tmp_path / each for each in ("first", "second", "name"))
    for path in (first, second):
        path.write_text(path.name)
        link_atomically(path, name)
    assert name.samefile(second)
    assert first.read_text() == "first"
