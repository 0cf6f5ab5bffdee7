"""The command that classifies images: its files, its screen, and what it does about bad input."""

import csv
import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

from rednet.config import PredictionConfig, to_yaml, validate
from rednet.data import image_files, imagenet_synsets, lazy_reading

COLOUR = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2)}
CLASSES = ["Katze", "猫", "=1+1", "dog"]
FILES = {"prediction.yaml", "predictions.csv", "predictions.jsonl", "predictions.png"}


def checkpoint_of(names, **preprocessing):
    """Save a network with random weights as a checkpoint of ours; return the argument."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=len(names))
    with torch.no_grad():
        model.fc.weight.mul_(5)
    content = {
        "format": "rednet-2",
        "model": {"name": "test_resnet", "options": {}},
        "state_dict": model.state_dict(),
        "class_names": names,
        "preprocessing": {
            **{"image_size": 32, "crop_pct": 0.8, "interpolation": "bicubic"},
            **COLOUR,
            **preprocessing,
        },
    }
    torch.save(content, "own.pt")
    return "checkpoint=own.pt"


def random_pixels(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def save_every_kind(folder):
    """Save images of every mode and shape."""
    folder.mkdir(parents=True)
    image = Image.fromarray(random_pixels(40, 64, 3))
    image.save(folder / "photo.JPG", exif=rotated())
    image.resize((20, 90)).save(folder / "tall, narrow.png")
    image.convert("L").save(folder / "gray.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("RGBA").save(folder / "rgba.png")
    image.convert("P").save(folder / "palette.gif", append_images=[image], save_all=True)
    deep = random_pixels(40, 50).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    Image.new("RGB", (3, 2), (200, 10, 10)).save(folder / "two\nlines.png")


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def table(folder="results"):
    with (Path(folder) / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def records(folder="results"):
    lines = (Path(folder) / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def not_read(folder="results"):
    with (Path(folder) / "not_read.csv").open(newline="") as file:
        return [(row["reason"], row["path"], row["detail"]) for row in csv.DictReader(file)]


def test_the_predictions_are_those_of_evaluate(predict, evaluate, tmp_path):
    checkpoint = checkpoint_of(["a", "b"])
    for name in ("a", "b"):
        save_every_kind(tmp_path / "images" / name)
    data = ["data=image_folder", f"data.root={tmp_path}/images", "data.val_fraction=1"]
    evaluate(checkpoint, *data, "predictions=true", "tta=hflip", "output_dir=evaluated")
    images = f"images={tmp_path}/images"
    done = predict(checkpoint, images, "data.batch_size=3", "tta=hflip", "output_dir=results")
    assert (done.code, done.err) == (0, "")
    expected = {row["path"]: row for row in table("evaluated")}
    assert len(expected) == 16
    for row in table():
        same = expected[row["path"]]
        assert row["class_1"] == same["class_1"]
        assert float(row["probability_1"]) == pytest.approx(float(same["probability_1"]), rel=1e-4)


def test_the_files(predict, files_in, tmp_path):
    save_every_kind(tmp_path / "images")
    checkpoint, images = checkpoint_of(CLASSES), f"images={tmp_path}/images"
    done = predict(checkpoint, images, "top_k=3", "output_dir=results")
    assert (done.code, done.err) == (0, "")
    assert done.last_line == (
        "8 images; predictions.csv, predictions.jsonl and predictions.png are in results"
    )
    assert set(files_in(Path("results"))) == FILES
    assert list(table()[0]) == ["path", *(f"{w}_{n}" for n in (1, 2, 3) for w in WHAT)]
    paths = sorted(str(path) for path in (tmp_path / "images").iterdir())
    assert [record["path"] for record in records()] == paths
    for row, record in zip(table(), records(), strict=True):
        assert row["path"] == record["path"].replace("\n", r"\n")
        for rank, prediction in enumerate(record["predictions"], 1):
            assert prediction["class"] == CLASSES[prediction["index"]]
            assert row[f"class_{rank}"].removeprefix("'") == prediction["class"]
            assert float(row[f"probability_{rank}"]) == prediction["probability"]
        probabilities = [prediction["probability"] for prediction in record["predictions"]]
        assert sorted(probabilities, reverse=True) == probabilities
        assert len(probabilities) == 3 and sum(probabilities) < 1
    text = Path("results/prediction.yaml").read_text()
    assert to_yaml(validate(yaml.safe_load(text), PredictionConfig)) == text
    with Image.open("results/predictions.png") as sheet:
        assert sheet.mode == "RGB" and min(sheet.size) > 500


WHAT = ("class", "probability")


def test_the_screen(predict, make_images):
    root = make_images("images", ["cat"], 23)
    done = predict(checkpoint_of(CLASSES), f"images={root}", "output_dir=results")
    lines = done.out.splitlines()
    assert lines[0].startswith("own.pt (rednet): test_resnet; 23 images, 32 px, crop 0.8, bicubic")
    assert lines[1].split() == ["image", "prediction", "second", "third"]
    assert lines[2].startswith(f"{root}/cat/0.png  ") and lines[2].endswith(" %")
    assert lines[-2:] == [
        "... and 3 more",
        "23 images; predictions.csv, predictions.jsonl and predictions.png are in results",
    ]
    assert len(lines) == 24


@pytest.mark.parametrize(
    "options", [["data.batch_size=1"], ["data.batch_size=5", "data.num_workers=2"]]
)
def test_batches_and_workers_make_no_difference(options, predict, make_images):
    argv = [checkpoint_of(CLASSES), f"images={make_images('images', ['cat', 'dog'])}"]
    predict(*argv, "output_dir=one")
    predict(*argv, *options, "output_dir=other")
    for one, other in zip(records("one"), records("other"), strict=True):
        assert one["path"] == other["path"]
        values = [[p["probability"] for p in record["predictions"]] for record in (one, other)]
        assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_unreadable_images_are_listed(predict, make_images):
    root = make_images("images", ["cat"])
    (root / "cat" / "1.png").write_bytes(b"no image")
    (root / "cat" / "notes.txt").touch()
    argv = [checkpoint_of(CLASSES), f"images={root}", "data.batch_size=1", "features=true"]
    done = predict(*argv, "output_dir=results")
    assert (done.code, done.err) == (0, "")
    assert "\nwarning: not read: " in done.out
    assert "1 image that cannot be decoded (1.png)" in done.out
    assert done.last_line.startswith("3 of 4 images; predictions.csv, ")
    assert [Path(row["path"]).name for row in table()] == ["0.png", "2.png", "3.png"]
    broken = records()[1]
    assert (broken["path"], list(broken)) == (f"{root}/cat/1.png", ["path", "error"])
    assert [row[:2] for row in not_read()] == [
        ("file without the suffix of an image", f"{root}/cat/notes.txt"),
        ("image that cannot be decoded", f"{root}/cat/1.png"),
    ]
    with np.load("results/features.npz") as found:
        assert found["paths"].tolist() == [row["path"] for row in table()]


def test_nothing_readable_at_all(predict, make_images):
    root = make_images("images", ["cat"])
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    argv = [checkpoint_of(CLASSES), f"images={root}", "output_dir=results"]
    start = f"images: none of 4 can be decoded: {root}/cat/0.png (it is no image of a"
    assert predict(*argv).error.startswith(start)
    assert len(records()) == len(not_read()) == 4
    assert not Path("results/predictions.png").exists()


def test_features_are_what_the_classifier_gets(predict, make_images):
    argv = [checkpoint_of(CLASSES), f"images={make_images('images', ['cat'])}"]
    done = predict(*argv, "features=true", "data.batch_size=3", "output_dir=results")
    assert done.last_line.endswith("predictions.png and features.npz are in results")
    with np.load("results/features.npz") as found:
        features, paths = torch.from_numpy(found["features"]), found["paths"].tolist()
    assert paths == [record["path"] for record in records()]
    weights = torch.load("own.pt", weights_only=True)["state_dict"]
    logits = features @ weights["fc.weight"].T + weights["fc.bias"]
    found = [record["predictions"][0]["probability"] for record in records()]
    assert logits.softmax(1).max(1).values.tolist() == pytest.approx(found, rel=1e-4)
    predict(*argv, "output_dir=results")  # what this run does not write does not stay behind
    assert not Path("results/features.npz").exists()


def bare(**options):
    torch.manual_seed(0)
    torch.save(timm.create_model("rednet26", width=0.25, **options).state_dict(), "bare.pt")
    return "checkpoint=bare.pt", "data.image_size=32"


def test_a_file_without_names_and_imagenets_number_of_classes(predict, make_images):
    images = f"images={make_images('images', ['cat'], 2)}"
    done = predict(*bare(), images, "output_dir=results")
    note = "the file has no class names: its 1000 classes are taken to be ImageNet's"
    assert note in done.out.splitlines()
    (first, *_), _ = (record["predictions"] for record in records())
    assert first["class"] == imagenet_synsets()[first["index"]]
    assert table()[0]["class_1"] == first["class"] and table()[0]["name_1"] == first["name"]
    assert first["name"] in done.out


def test_a_file_without_names_and_another_number_of_classes(predict, make_images):
    images = f"images={make_images('images', ['cat'], 2)}"
    done = predict(*bare(num_classes=21), images, "output_dir=results")
    note = "the file has no class names: its 21 classes are numbered 0 to 20"
    assert note in done.out.splitlines()
    assert all(p["class"] == str(p["index"]) for p in records()[0]["predictions"])


def test_a_file_without_classifier_has_features_only(predict, make_images, files_in):
    argv = [*bare(num_classes=0), f"images={make_images('images', ['cat'])}", "output_dir=results"]
    error = predict(*argv).error
    assert error.startswith("checkpoint=bare.pt has no classifier: train one first; features=true")
    done = predict(*argv, "features=true", "top_k=3", "sheet_images=2")
    keys = ("top_k", "sheet_images")
    reason = "has no effect, checkpoint=bare.pt has no classifier"
    assert done.err.splitlines() == [f"error: {key}: {reason}" for key in keys]
    done = predict(*argv, "features=true")
    assert done.last_line == "4 images; features.npz is in results"
    assert set(files_in(Path("results"))) == {"prediction.yaml", "features.npz"}


def test_a_list_of_images_some_twice(predict, make_images):
    root = make_images("images", ["cat", "dog"])
    names = f'images=["{root}/cat/[12].png",{root}/dog/3.png,{root}/cat/1.png]'
    assert predict(checkpoint_of(CLASSES), names, "output_dir=results").code == 0
    found = [os.path.relpath(record["path"], root) for record in records()]
    assert found == ["cat/1.png", "cat/2.png", "dog/3.png", "cat/1.png"]
    assert records()[0] == records()[3]


def test_images_that_stdin_lists(predict, make_images, monkeypatch):
    root = make_images("images", ["cat", "dog"])
    (root / "dog" / "notes.txt").touch()
    Path("names").write_text(f"{root}/dog\n{root}/cat/0.png\nmissing.png\n")
    with open("names") as names:
        monkeypatch.setattr(sys, "stdin", names)
        images = f"images=[{root}/dog,-]"
        done = predict(checkpoint_of(CLASSES), images, "output_dir=results")
    assert (done.code, len(table())) == (0, 9)
    assert [Path(path).name for _, path, _ in not_read()] == ["notes.txt"] * 2 + ["missing.png"]
    assert "; images from stdin, 32 px" in done.out
    assert records()[-1]["error"].startswith("[Errno 2] No such file")
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        error = predict("checkpoint=own.pt", "images=-", "output_dir=empty").error
    assert error == "images: there are none"


class Interrupting(io.RawIOBase):
    """A stdin that lists images; the process gets a signal while it reads the second part."""

    def __init__(self, *parts):
        self.parts = list(parts)

    def readable(self):
        return True

    def readinto(self, buffer):
        if len(self.parts) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        part = self.parts.pop(0) if self.parts else b""
        buffer[: len(part)] = part
        return len(part)


def test_a_signal_ends_a_run_with_complete_files(predict, make_images, monkeypatch, files_in):
    root = make_images("images", ["cat"])
    parts = [f"{root}/cat/{index}.png\n".encode() for index in range(2)]
    stdin = io.TextIOWrapper(io.BufferedReader(Interrupting(*parts, b"later.png\n" * 9)))
    monkeypatch.setattr(sys, "stdin", stdin)
    argv = [checkpoint_of(CLASSES), "images=-", "data.batch_size=1", "output_dir=results"]
    done = predict(*argv, "features=true")
    assert done.code == 143
    assert done.err == "stopped by SIGTERM: 1 done; the results so far are in results\n"
    assert len(table()) == len(records()) == 1
    assert set(files_in(Path("results"))) == {*FILES, "features.npz"}


def test_an_image_that_costs_workers_is_listed(predict, make_images, monkeypatch):
    root = make_images("images", ["cat"])
    (root / "cat" / "1.png").rename(root / "cat" / "1-deadly.png")

    def read(path, max_pixels):
        if "deadly" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return lazy_reading.read_lazily(path, max_pixels)

    monkeypatch.setattr(image_files, "read_lazily", read)
    argv = [checkpoint_of(CLASSES), f"images={root}", "data.batch_size=1", "data.num_workers=1"]
    done = predict(*argv, "output_dir=results")
    assert (done.code, len(table())) == (0, 3)
    assert not_read()[0][1] == f"{root}/cat/1-deadly.png"
    assert "it has cost 2 workers" in not_read()[0][2]
    error = predict(*argv, "data.max_worker_restarts=0", "output_dir=results").error
    assert "data.max_worker_restarts=0 are used up" in error
    assert len(records()) <= 1  # what came before is kept


def test_the_sheet_of_an_earlier_run_is_no_image(predict, make_images):
    root = make_images("images", ["cat"])
    argv = [checkpoint_of(CLASSES), f"images={root}", f"output_dir={root}"]
    assert predict(*argv).code == predict(*argv).code == 0
    assert len(table(root)) == 4
    assert predict(*argv, "sheet_images=0").code == 0
    assert not (root / "predictions.png").exists()


def test_a_network_that_has_diverged(predict, make_images):
    argv = [checkpoint_of(CLASSES), f"images={make_images('images', ['cat'])}"]
    content = torch.load("own.pt", weights_only=True)
    content["state_dict"]["fc.bias"][0] = float("nan")
    torch.save(content, "own.pt")
    error = predict(*argv, "output_dir=results").error
    assert error.startswith("the logits of 4 of 4 images are not finite: the network has diverged")
    assert {record["error"] for record in records()} == {"the logits are not finite"}


def test_names_and_outputs_must_agree(predict, make_images):
    images = f"images={make_images('images', ['cat'])}"
    torch.manual_seed(0)
    content = {
        "format": "rednet-2",
        "model": {"name": "rednet26", "options": {"width": 0.25}},
        "state_dict": timm.create_model("rednet26", width=0.25, num_classes=3).state_dict(),
        "class_names": CLASSES,
        "preprocessing": torch.load(checkpoint_of(CLASSES)[11:], weights_only=True)[
            "preprocessing"
        ],
    }
    torch.save(content, "own.pt")
    error = predict("checkpoint=own.pt", images).error
    assert error == "checkpoint=own.pt: has 4 class names but 3 outputs"


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["images=x.png"], "checkpoint=FILE is needed: the weights of the network"),
        (["checkpoint=own.pt"], "images=... is needed: a file, a folder, a pattern, or - for"),
        (["checkpoint=own.pt", "images=x.png"], "images=x.png: no such file or folder"),
        (["checkpoint=own.pt", "images=[]"], "images: must have 1 or more entries or null"),
        (["images=2024"], "images[0]: must be text, got 2024 (on the command line: key='"),
        (["images='b\udcff.jpg'"], 'images[0]: must be UTF-8, got "b\\xff.jpg"'),
        (["checkpoint=none.pt", "images=own.pt"], "checkpoint=none.pt: no such file"),
        (["top_k=0"], "top_k: must be at least 1"),
        (["sheet_images=401"], "sheet_images: must be at most 400"),
        (["data.root=x"], "data.root: this command does not use it"),
        (["predictions=true"], "predictions: this command does not use it"),
        (
            ["checkpoint=own.pt", "images=own.pt", "data=fashion_mnist"],
            "data: has no effect, checkpoint=own.pt says how images are prepared",
        ),
    ],
)
def test_mistakes(argv, start, predict):
    checkpoint_of(CLASSES)
    assert predict(*argv).error.startswith(start)
    assert not Path("runs").exists()
