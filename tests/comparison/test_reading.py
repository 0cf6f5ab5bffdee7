"""Runs are read from their folders, whatever state these are in."""

import json
from io import BytesIO

import pytest
import torch
from PIL import Image
from written_runs import add_confusion_table, add_mistakes

from rednet.comparison.document import to_document
from rednet.comparison.reading import read_run
from rednet.comparison.run_folders import find_runs
from rednet.comparison.scores import values_of
from rednet.comparison.settings import differing_keys
from rednet.errors import InputError
from rednet.training.mistake_files import write_mistakes
from rednet.training.mistakes import Mistake


def read(folder):
    return read_run(folder.name, folder, 12)


def test_what_a_finished_run_says(make_run):
    run = read(make_run("a"))
    values = values_of(run)
    assert (run.problems, values["state"]) == ([], "finished")
    assert (values["top1"], values["best_epoch"], values["last_top1"]) == (40.0, 2, 30.0)
    assert (values["seconds"], values["rate"]) == (30.0, 102.0)
    assert (values["device"], values["commit"]) == ("Intel Xeon", "c1e94ea2a3")
    assert run.settings["model.options.width"] == 0.25


@pytest.mark.parametrize(
    ("tops", "state"),
    [((20.0,), "epoch 1 of 3"), ((None, None, None), "finished"), ((), "no epoch of 3")],
)
def test_unfinished_runs(make_run, tops, state):
    assert values_of(read(make_run("a", tops)))["state"] == state


def test_a_run_that_wrote_nothing_is_listed(make_run, tmp_path):
    make_run("a")
    (tmp_path / "crashed").mkdir()
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "config.yaml").write_text("seed: 1\n")
    (tmp_path / ".hydra").mkdir()
    runs = find_runs([str(tmp_path)])
    assert list(runs) == ["a", "crashed", "started"]
    assert values_of(read(runs["crashed"]))["state"] == "empty"
    assert read(runs["crashed"]).problems == ["no config.yaml", "no metrics.jsonl"]


DAMAGE = {
    "config.yaml": [b"", b"\xff\xfe", b"a: [1", b"!!python/object:os.system x", b"- 1\n", b"\0\0"],
    "metrics.jsonl": [b"{", b"[1]\n", b"\xff\n", b"\0\0", b'{"epoch": "1"}\n'],
    "provenance.jsonl": [b"{", b"[]", b"\xff", b'{"machine": 3, "code": [], "time": 1}'],
    "confusions.csv": [b"", b"a,b\n1,2\n", b"true,predicted,count\nx,y\n", b"\xff", b'"'],
    "mistakes/epoch-0002/index.json": [
        *(b"", b"[]", b"\xff", b'{"images": 3}', b'{"images": [{}]}', b'{"images": [1]}'),
        b'{"images": [{"file": "01.png", "label": 1, "prediction": 2, "confidence": "x"}]}',
    ],
    "mistakes/epoch-0002/confusion.json": [b"{", b"[]", b'{"pairs": [3]}', b'{"pairs": [{}]}'],
}


@pytest.mark.parametrize(
    ("file", "content"), [(file, content) for file in DAMAGE for content in DAMAGE[file]]
)
def test_damaged_files_leave_the_rest(make_run, file, content):
    folder = make_run("a")
    add_mistakes(folder)
    add_confusion_table(folder / "confusions.csv")
    if "confusion.json" in file:
        (folder / "confusions.csv").unlink()
    (folder / file).write_bytes(content)
    run = read(folder)
    assert all("Traceback" not in line and line.isprintable() for line in run.problems)
    document = to_document([run])
    json.dumps(document, allow_nan=False)
    if file != "metrics.jsonl":
        assert document["runs"][0]["values"]["top1"] == 40.0
    if file not in ("provenance.jsonl", "confusions.csv"):
        assert run.problems


def test_a_cut_line_costs_one_epoch(make_run):
    folder = make_run("a")
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text[:-20])
    run = read(folder)
    assert [row["epoch"] for row in run.rows] == [1, 2]
    assert run.problems == ["metrics.jsonl is damaged; passed over: line 3"]


def test_a_file_that_is_a_folder(make_run):
    folder = make_run("a")
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").mkdir()
    assert read(folder).problems == ["config.yaml cannot be read: Is a directory"]


def test_names_of_runs(make_run, tmp_path):
    make_run("one/sweep/lr=0.1/seed=1")
    make_run("two/a")
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert list(find_runs([one])) == ["sweep/lr=0.1/seed=1"]
    assert list(find_runs([one, two, f"{two}/a"])) == ["one/sweep/lr=0.1/seed=1", "two/a"]
    assert list(find_runs([f"{two}/a"])) == ["a"]
    make_run("three/two/a")
    both = [two, str(tmp_path / "three" / "two")]
    assert list(find_runs(both)) == ["two/a", "two/a (2)"]


def test_debug_folders_are_no_runs_to_compare(make_run, tmp_path):
    make_run("all/a")
    debug = make_run("all/debug-fast-a")
    assert list(find_runs([str(tmp_path / "all")])) == ["a"]
    assert list(find_runs([str(debug)])) == ["debug-fast-a"]


@pytest.mark.parametrize("name", ["nowhere", "file", "empty"])
def test_folders_without_runs(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(InputError, match=f"^runs=.*{name}: "):
        find_runs([str(tmp_path / name)])


def test_the_settings_that_differ(make_run):
    runs = [read(make_run("a", lr=0.1)), read(make_run("b", lr=0.2)), read(make_run("c", seed=1))]
    (make_run("d") / "config.yaml").unlink()
    assert differing_keys(runs) == ["optimizer.lr", "seed"]
    document = to_document(runs)
    assert document["common"]["augment.scale"] == "[0.08, 1]"
    assert [run["settings"]["seed"] for run in document["runs"]] == [0, 0, 1]


def test_mistakes_become_small_jpeg_files(make_run):
    folder = make_run("a")
    add_mistakes(folder)
    run = read(folder)
    enlarged, shrunk = [Image.open(BytesIO(mistake.thumbnail)) for mistake in run.mistakes]
    assert (enlarged.size, shrunk.size, shrunk.format) == ((112, 112), (112, 84), "JPEG")
    assert run.mistakes[0].confidence == 0.98
    assert [(pair.true, pair.count) for pair in run.confusions] == [("cat", 7), ("dog", 2)]
    assert len(read_run("a", folder, 1).mistakes) == 1


def test_mistakes_of_another_program(make_run):
    folder = make_run("a")
    add_mistakes(folder)
    (folder / "mistakes" / "epoch-0003").mkdir()  # not complete
    for path in (folder / "mistakes" / "epoch-0002").iterdir():
        path.rename(folder / "mistakes" / path.name)
    run = read(folder)
    assert len(run.mistakes) == len(run.confusions) == 2


@pytest.mark.parametrize("name", ["confusions.csv", "evaluation/confusions.csv"])
def test_the_table_with_all_confusions_comes_first(make_run, name):
    folder = make_run("a")
    add_mistakes(folder)
    add_confusion_table(folder / name)
    assert [(pair.count, pair.share) for pair in read(folder).confusions] == [(9, 18.0), (1, None)]


def test_long_runs_have_fewer_points(make_run):
    series = to_document([read(make_run("a", [1.0] * 1203))])["series"][0]
    assert len(series["epoch"]) <= 500 and series["epoch"][-1] == 1203
    assert series["seconds"][-1] == 12030.0


def test_of_a_training_the_mistakes_of_its_best_evaluation_are_read(make_run):
    """As the training writes them; a damaged index is passed over for the other."""
    folder = make_run("a")
    image = BytesIO()
    Image.new("L", (28, 28)).save(image, "JPEG")
    for epoch, wrong in ((7, 1), (9, 3)):
        confusion = torch.tensor([[5, wrong], [0, 5]])
        worst = [Mistake((-2.5, epoch), 0, 1, 0.75, f"{epoch}.png", image.getvalue())]
        write_mistakes(folder, epoch, 10 * epoch, worst, confusion, ["cat", "dog"])
    run = read_run("a", folder, 12)
    assert [(each.true, each.predicted, each.count) for each in run.confusions] == [
        ("cat", "dog", 1)
    ]
    (mistake,) = run.mistakes
    assert (mistake.label, mistake.prediction, mistake.name) == ("cat", "dog", "7.png")
    assert mistake.confidence == 0.75 and run.problems == []
    (folder / "mistakes" / "epoch-0007" / "index.json").write_text("{")
    (mistake,) = read_run("a", folder, 12).mistakes
    assert mistake.name == "9.png"
