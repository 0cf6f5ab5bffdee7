import csv
import io
import os

import pytest

from rednet.errors import InputError
from rednet.files import link_atomically, require_free, to_csv, write_atomically


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


def test_an_output_needs_a_folder_that_can_be_written(tmp_path, monkeypatch):
    source = tmp_path / "a.pt"
    source.write_bytes(b"")
    require_free(tmp_path / "new" / "b.onnx", source, overwrite=False)
    with pytest.raises(InputError, match=r"b\.onnx: a\.pt is a file, not a folder"):
        require_free(source / "b.onnx", source, overwrite=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"b\.onnx: no permission to write in "):
        require_free(tmp_path / "b.onnx", source, overwrite=False)


def test_a_link_is_moved_to_another_file(tmp_path):
    first, second, name = (tmp_path / each for each in ("first", "second", "name"))
    for path in (first, second):
        path.write_text(path.name)
        link_atomically(path, name)
    assert name.samefile(second)
    assert first.read_text() == "first"


@pytest.mark.parametrize(
    "name", ["=1+1", "+1 day", "-1+2", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0", "\uff1d1+1", "-a"]
)
def test_a_name_is_no_formula_in_a_spreadsheet(name):
    text = to_csv([{"class": name, "top1": -1.5}])
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row == {"class": f"'{name}", "top1": "-1.5"}


@pytest.mark.parametrize("name", ["-1", "+2.5e-3", "-", "a=1", "1-2", 'a "b", c', "'x", ""])
def test_other_names_stay_as_they_are_in_csv(name):
    (row,) = csv.DictReader(io.StringIO(to_csv([{"class": name, "n": 1}])))
    assert row["class"] == name
