"""scalars.csv has every scalar once, whatever happened to the run or its disk."""

import csv
import math

import pytest

from rednet.loggers.csv_file import CsvFile


def write(folder, first_step, *steps):
    log = CsvFile(folder, first_step)
    log.flush()
    for step in steps:
        log.scalars({"loss": step + 0.5}, step)
    return log


def steps(folder):
    with (folder / "scalars.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["value"]) == int(row["step"]) + 0.5 for row in rows)
    return [int(row["step"]) for row in rows]


def test_a_resumed_run_replaces_what_followed_its_checkpoint(tmp_path):
    write(tmp_path, 1, 1, 2, 3).close()
    write(tmp_path, 3, 3, 4).close()
    assert steps(tmp_path) == [1, 2, 3, 4]


DAMAGES = {
    "half a line": lambda content: content[:-3],
    "NUL bytes": lambda content: content + bytes(100),
    "other text": lambda content: content + b"<html>\n\xff\xfe\n",
    "no header": lambda content: content.split(b"\n", 1)[1],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_repaired(name, tmp_path):
    write(tmp_path, 1, 1, 2).close()
    path = tmp_path / "scalars.csv"
    path.write_bytes(DAMAGES[name](path.read_bytes()))
    write(tmp_path, 3, 3).close()
    lost = {"half a line": [2], "empty": [1, 2]}.get(name, [])
    assert steps(tmp_path) == [step for step in (1, 2, 3) if step not in lost]


def test_lines_are_kept_until_they_can_be_written(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    log = write(folder, 1, 1)
    log.flush()
    folder.rename(tmp_path / "away")
    folder.touch()
    for step in (2, 3):
        log.scalars({"loss": step + 0.5}, step)
        with pytest.raises(OSError):
            log.flush()
    folder.unlink()
    (tmp_path / "away").rename(folder)
    with (folder / "scalars.csv").open("ab") as file:
        file.write(b"2,los")  # what a full disk left of the flush that failed
    log.close()
    assert steps(folder) == [1, 2, 3]


def test_tags_and_values_of_any_kind(tmp_path):
    log = CsvFile(tmp_path, 1)
    values = {'a,"b"\n': math.nan, "=1+1": math.inf, "\u732b": 1e-300}
    log.scalars(values, 1)
    log.close()
    with (tmp_path / "scalars.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [(tag, repr(float(value))) for _, tag, value in rows] == [
        (tag, repr(value)) for tag, value in values.items()
    ]
