"""The files with predictions and features, whose content is never in memory."""

import csv
import json
import os
import tracemalloc

import numpy as np
import pytest

from rednet.data import imagenet_synsets
from rednet.data.not_read import NotRead
from rednet.predictions.features import write_features
from rednet.predictions.files import write_csv, write_json_lines
from rednet.predictions.results import Results
from rednet.predictions.rows import ClassLabels, Row

NOT_UTF8 = os.fsdecode(b"x\xe9.png")
PATHS = ["a,b.png", "two\nlines.png", "=1+1.png", "\x1b[31m.png", NOT_UTF8, "\u732b.png", 'q".png']


def rows(paths=PATHS):
    values = np.random.default_rng(0).random((len(paths), 5), np.float32)
    found = [Row(i, path, (1, 0), (0.75, 0.25), features=values[i]) for i, path in enumerate(paths)]
    return [*found, Row(9, "broken.png", reason="no image")], values


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_paths_and_names_of_all_kinds(tmp_path):
    labels = ClassLabels(["=cmd", "\u732b, \x07"])
    with (
        write_csv(tmp_path / "a.csv", labels, 5, targets=False) as write_table,
        write_json_lines(tmp_path / "a.jsonl", labels) as write_lines,
    ):
        for part in (rows()[0][:3], [], rows()[0][3:]):
            write_table(part)
            write_lines(part)
        assert not list(tmp_path.glob("a.*"))  # complete or absent
    head, *table = read_csv(tmp_path / "a.csv")
    assert head == ["path", "class_1", "probability_1", "class_2", "probability_2"]
    shown = ["a,b.png", r"two\nlines.png", "'=1+1.png", r"\x1b[31m.png", r"x\xe9.png"]
    assert [row[0] for row in table] == [*shown, *PATHS[5:]]
    assert table[0][1:] == ["\u732b, \\x07", "0.75", "'=cmd", "0.25"]
    *records, broken = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert broken == {"path": "broken.png", "error": "no image"}
    exact = [r"x\xe9.png" if path == NOT_UTF8 else path for path in PATHS]
    assert [record["path"] for record in records] == exact
    assert records[0]["predictions"][1] == {"class": "=cmd", "index": 0, "probability": 0.25}


def test_english_names_have_columns_of_their_own(tmp_path):
    labels = ClassLabels([imagenet_synsets()[1], "mine"])
    with write_csv(tmp_path / "a.csv", labels, 1, targets=True) as write:
        write([Row(0, "a.png", (0,), (1.0,), target=1), Row(1, "b.png", (1,), (1.0,))])
    assert read_csv(tmp_path / "a.csv") == [
        ["path", "target", "class_1", "name_1", "probability_1"],
        ["a.png", "mine", "n01443537", "goldfish", "1"],
        ["b.png", "", "mine", "", "1"],
    ]


@pytest.mark.parametrize("paths", [PATHS, [*PATHS] * 4000], ids=["some", "many"])
def test_features_are_written_as_numpy_does(paths, tmp_path):
    found, values = rows(paths)
    with write_features(tmp_path / "a.npz") as write:
        write(found[:2])
        write(found[2:])
    with np.load(tmp_path / "a.npz") as file:
        assert file["features"].dtype == np.float32 and (file["features"] == values).all()
        assert file["paths"].tolist() == paths
    assert os.listdir(tmp_path) == ["a.npz"]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    labels = ClassLabels(["cat", "dog"])
    results = Results(labels, 48, 100_000, NotRead())
    found, _ = rows([f"folder/{index}.png" for index in range(500)])
    with (
        write_csv(tmp_path / "a.csv", labels, 5, targets=False) as write_table,
        write_json_lines(tmp_path / "a.jsonl", labels) as write_lines,
        write_features(tmp_path / "a.npz") as write_numbers,
    ):
        tracemalloc.start()
        sizes = []
        for part in range(12):
            for write in (write_table, write_lines, write_numbers, results.add):
                write([row._replace(position=500 * part + i) for i, row in enumerate(found)])
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert results.predicted == 6000
    assert sizes[-1] - sizes[1] < 20_000


def test_a_failure_leaves_the_earlier_files(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"earlier")
    with pytest.raises(KeyError), write_features(tmp_path / "a.npz") as write:
        write(rows()[0])
        raise KeyError
    assert (tmp_path / "a.npz").read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["a.npz"]
    with write_features(tmp_path / "a.npz"):
        pass
    assert os.listdir(tmp_path) == []
