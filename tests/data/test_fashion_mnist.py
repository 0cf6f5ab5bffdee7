import gzip
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rednet.data import open_fashion_mnist
from rednet.data.fashion_mnist import EMBEDDED_FILE
from rednet.errors import InputError

SCRIPT = Path(__file__).parents[2] / "scripts" / "embed_fashion_mnist.py"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    """A small data set: every label 12 times in turn, each image in one shade of gray."""
    folder = tmp_path / "idx"
    folder.mkdir()
    labels = np.tile(np.arange(10, dtype=np.uint8), 12)
    images = np.arange(120, dtype=np.uint8).repeat(28 * 28).reshape(120, 28, 28)
    for images_name, labels_name in FILES.values():
        (folder / images_name).write_bytes(idx(images))
        (folder / f"{labels_name}.gz").write_bytes(gzip.compress(idx(labels)))
    return folder


def test_embedded_subset_is_balanced_and_complete(fashion_mnist):
    splits = fashion_mnist
    assert Counter(splits.train.targets) == dict.fromkeys(range(10), 1000)
    assert Counter(splits.val.targets) == dict.fromkeys(range(10), 200)
    # The first labels of the full data set.
    assert splits.train.targets[:8] == [9, 0, 0, 3, 0, 2, 7, 2]
    assert splits.val.targets[:8] == [9, 2, 1, 1, 6, 1, 4, 6]
    assert [splits.train.class_names[i] for i in (0, 9)] == ["T-shirt/top", "Ankle boot"]
    image = splits.val.load(0)
    assert (image.mode, image.size, image.getextrema()) == ("L", (28, 28), (0, 255))
    assert splits.train.name_of(17) == "fashion_mnist/train/17"


def test_embedded_file_is_about_5_megabytes():
    assert 4e6 < EMBEDDED_FILE.stat().st_size < 6e6


def test_idx_files_may_be_gzipped(idx_folder):
    splits = open_fashion_mnist(str(idx_folder))
    assert len(splits.train) == len(splits.val) == 120
    assert splits.train.targets[13] == 3
    assert splits.train.load(13).getextrema() == (13, 13)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], "truncated or damaged"),
        ("train-images-idx3-ubyte", lambda b: b + b"1", "truncated or damaged"),
        ("t10k-images-idx3-ubyte", lambda b: b"\x00\x00\x08\x01" + b[4:], "not an IDX file"),
        ("t10k-images-idx3-ubyte", lambda b: b"", "not an IDX file"),
        ("t10k-images-idx3-ubyte", lambda b: b[:5], "not an IDX file"),
        ("train-labels-idx1-ubyte.gz", lambda b: b[:20], "cannot be read"),
        ("train-labels-idx1-ubyte.gz", lambda b: b[:15] + b"xxxxx" + b[20:], "cannot be read"),
        (
            "t10k-images-idx3-ubyte",
            lambda b: idx(np.zeros((120, 28, 27), np.uint8)),
            r"of size \(28, 27\), expected \(28, 28\)",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            lambda b: idx(np.zeros(119, np.uint8)),
            "119 labels for 120 images",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            lambda b: idx(np.full(120, 10, np.uint8)),
            "labels from 0 to 9",
        ),
    ],
)
def test_a_damaged_file_is_named(idx_folder, name, damage, message):
    path = idx_folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        open_fashion_mnist(str(idx_folder))
    assert name.split("-")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_folder_is_named(idx_folder):
    (idx_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has neither t10k-labels-idx1-ubyte nor"):
        open_fashion_mnist(str(idx_folder))
    with pytest.raises(InputError, match="nowhere does not exist"):
        open_fashion_mnist(str(idx_folder / "nowhere"))


def run_script(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return stop.value.code


def test_script_writes_a_balanced_subset_with_the_same_bytes_each_time(
    idx_folder, tmp_path, monkeypatch, capsys
):
    outputs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    limits = ("--train-per-class", 3, "--test-per-class", 1)
    for output in outputs:
        assert run_script(monkeypatch, idx_folder, "--output", output, *limits) == 0
        assert "train: 30 of 120 images" in capsys.readouterr().out
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with np.load(outputs[0], allow_pickle=False) as file:
        assert file["train_labels"].tolist() == [*range(10)] * 3
        assert file["train_images"][:, 0, 0].tolist() == [*range(30)]
        assert file["test_images"].shape == (10, 28, 28)


def test_script_help_says_where_to_get_the_full_data_set(monkeypatch, capsys):
    assert run_script(monkeypatch, "--help") == 0
    assert "dataset-fashion-mnist" in capsys.readouterr().out


def test_script_names_a_missing_file(tmp_path, monkeypatch, capsys):
    assert run_script(monkeypatch, tmp_path) == 2
    assert "has neither train-images-idx3-ubyte" in capsys.readouterr().err
