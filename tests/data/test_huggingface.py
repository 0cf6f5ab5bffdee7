"""Data sets of the Hugging Face library datasets: folders, parquet files, and the Hub offline."""

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rednet.build.data import build_splits
from rednet.config import ConfigError, compose
from rednet.data import (
    ImageDataset,
    ImageFiles,
    Splits,
    count_sampled,
    describe_splits,
    fingerprint,
    open_huggingface,
    open_image_folder,
)
from rednet.data.arrow_images import ArrowImages
from rednet.data.arrow_labels import read_texts
from rednet.errors import InputError

hub = pytest.importorskip("datasets", reason='needs pip install "rednet[huggingface]"')

CLASSES = ["day10", "day9"]
NAMES = [f"{name}/{number}.png" for name in CLASSES for number in (2, 10, 1)]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


def encode(number, size=(6, 8)):
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def table(labels, names=CLASSES, first=0, **columns):
    """Return a data set of small images with these class indices."""
    kinds = {"image": hub.Image()}
    if names:
        kinds["label"] = hub.ClassLabel(names=names)
    content = {"image": [encode(first + row) for row in range(len(labels))], "label": labels}
    made = hub.Dataset.from_dict({**content, **columns})
    return made.cast(hub.Features({**made.features, **kinds}))


def save(name="data", /, **splits):
    """Save one table in a folder or, by the names of their splits, several."""
    (splits.pop("only", None) or hub.DatasetDict(splits)).save_to_disk(name)
    return name


def open_data(dataset, **options):
    return open_huggingface(str(dataset), **{"val_fraction": 0.4, "seed": 3, **options})


def samples(source):
    return [(source.relative_names[i].decode(), source.targets[i]) for i in range(len(source))]


def test_the_images_of_a_folder_are_the_same_data_set(make_images):
    """As files, stored in Arrow, and as parquet; by (seed, epoch, index), to the last bit."""
    root = f"{make_images(*(f'images/{name}' for name in NAMES))}/images"
    folder = open_image_folder(root, val_fraction=0.4, seed=3)
    files = hub.load_dataset(root, split="train")
    files.select([4, 0, 3, 2, 5, 1]).save_to_disk("arrow")
    hub.load_from_disk("arrow").to_parquet("parquet/train-00000-of-00001.parquet")
    for dataset, kind in ((root, ImageFiles), ("arrow", ArrowImages), ("parquet", ArrowImages)):
        ours = open_data(dataset)
        for split in ("train", "val", "whole"):
            source, expected = getattr(ours, split), getattr(folder, split)
            assert isinstance(source, kind)
            assert samples(source) == samples(expected)
            assert source.class_names == expected.class_names == CLASSES
            assert fingerprint(source) == fingerprint(expected)
            mine, theirs = (ImageDataset(each, np.asarray, 3) for each in (source, expected))
            for index in range(len(source)):
                source.check(index)
                assert source.read_bytes(index) == expected.read_bytes(index)
                assert mine[1, index].target == theirs[1, index].target
                assert np.array_equal(mine[1, index].image, theirs[1, index].image)
    assert ours.origins["train"] == "parquet/train"
    assert ours.whole.name_of(0) == "parquet/train[1]"


def test_images_without_names():
    """Known by their rows and a few contents; workers get the path of the table."""
    source = open_data(save(only=table([0, 1] * 50))).whole
    assert samples(source)[:2] == [("000", 0), ("002", 0)]
    other = open_data(save("other", only=table([0, 1] * 50, first=50))).whole
    assert fingerprint(other) == fingerprint(source)  # which the rows' numbers and classes are
    sample = describe_splits("huggingface", Splits(train=source, val=None))["sample"]
    assert (count_sampled(source, sample), count_sampled(other, sample)) == (16, 0)
    pickled = pickle.dumps(source.table)
    assert len(pickled) < 5000 < sum(len(encode(row)) for row in range(100))
    assert pickle.loads(pickled)[17].column(0)[0].as_py()["bytes"] == encode(17)


def test_splits_and_columns():
    """In which the test images have no labels, as those of many data sets."""
    more = {"image2": [encode(8)] * 2, "coarse": ["b", "a"]}
    splits = {
        "train": table([1, 0], **more),
        "dev": table([0, 0], first=2, **more),
        "test": table([-1, 0], first=4, **more),
        "extra": table([0, 1], first=6, **more),
    }
    opened = open_data(save(**splits))
    assert samples(opened.train) == [("1", 0), ("0", 1)]
    assert samples(opened.val) == [("0", 0), ("1", 0)]
    assert (opened.train.class_names, opened.test) == (CLASSES, None)
    line = "no label (null or negative) in 1 row of 2, such as data/test[0]"
    assert opened.unused == {"test": line}
    assert opened.notes == (
        "splits of data that are not read: extra",
        "warning: no validation images of 1 class: day9",
    )
    opened = open_data("data", train_split="extra", val_split="train", label_column="coarse")
    assert opened.train.class_names == ["a", "b"]
    assert samples(opened.train) == samples(opened.val) == [("1", 0), ("0", 1)]
    assert opened.train.read_bytes(1) == encode(6)
    assert samples(opened.test) == [("1", 0), ("0", 1)]
    assert open_data("data", image_column="image2").train.read_bytes(0) == encode(8)
    splits["test"] = table([0]).remove_columns("label")
    opened = open_data(save("other", **splits))
    assert opened.unused == {"test": "other/test has no column label"}


def test_names_and_numbers_of_classes(tmp_path):
    file = tmp_path / "classes.txt"
    save("named", only=table([0, 1, 1]))
    for names, expected, targets in (
        ("day9\nant\nday10", ["day9", "ant", "day10"], [0, 0, 2]),
        ("cat\ndog", ["cat", "dog"], [0, 1, 1]),
    ):
        file.write_text(names)
        source = open_data("named", classes=str(file)).whole
        assert (source.class_names, source.targets) == (expected, targets)
    save("numbers", only=table([2, 0, 1, 1], names=None))
    source = open_data("numbers").whole
    assert (source.class_names, source.targets) == (["0", "1", "2"], [0, 1, 1, 2])
    file.write_text("cat\ndog\nemu\nfox")
    assert open_data("numbers", classes=str(file)).whole.class_names[3] == "fox"


def test_images_that_cannot_be_read(tmp_path, make_images):
    make_images("images/0.png")
    rows = [
        {"bytes": b"junk", "path": None},
        {"bytes": None, "path": "0.png"},
        {"bytes": encode(0, (9, 9)), "path": None},
        None,
    ]
    content = hub.Dataset.from_dict({"picture": rows, "category": ["a", "b", "b", "a"]})
    content.to_parquet("table.parquet")
    options = {"root": f"{tmp_path}/images", "image_column": "picture"}
    source = open_data("table.parquet", **options).whole
    source.max_pixels = 80
    found = [ImageDataset(source, np.asarray)[0, index] for index in range(4)]
    assert [sample.unreadable for sample in found] == [
        ("table.parquet/train[0]", "it is no image of a known format"),
        ("table.parquet/train[3]", "the row has no image"),
        None,
        ("table.parquet/train[2]", "it has 81 pixels, more than data.max_pixels=80"),
    ]


def test_paths_without_the_type_of_an_image(make_images):
    names = [f"a/{number}.png" for number in range(3)]
    make_images(*names)
    rows = {"path": ["2.png", "1.png", "0.png"], "category": ["x", "y", "x"]}
    hub.Dataset.from_dict(rows).to_parquet("a/table.parquet")
    source = open_data("a/table.parquet").whole
    assert samples(source) == [("0.png", 0), ("2.png", 0), ("1.png", 1)]
    assert source.name_of(0).endswith("/a/0.png")


TWO = table([0, 1])
BAD = {
    "null": ({"only": table([None, 1])}, {}, r"^no label .* in 1 row of 2, such as data"),
    "one class": ({"only": table([0], ["a"])}, {}, r"^data/train\[0\] and all others are of the "),
    "no image column": ({"only": TWO}, {"image_column": "x"}, r"^data.image_column=x: data has no "
                        "such column; its columns are image, label$"),
    "no images": ({"only": TWO}, {"image_column": "label"}, r"^data.image_column=label: it holds "
                  "int64, neither encoded images nor paths$"),
    "no labels": ({"only": TWO}, {"label_column": "image"}, r"^data.label_column=image: it holds "),
    "no label column": ({"only": TWO.remove_columns("label")}, {}, r"has no column label or class"),
    "two columns": ({"only": table([0, 1], a=[0, 1]).rename_column("label", "b").cast_column("a",
                    hub.ClassLabel(names=CLASSES))}, {}, r"^data has columns b, a: choose one by "
                    "data.label_column$"),
    "no split": ({"train": TWO}, {"val_split": "dev"}, r"^data.val_split=dev: data has no such "
                 "split; its splits are train$"),
    "same split": ({"train": TWO}, {"val_split": "train", "train_split": "train"}, r"^data.val_s"),
    "two splits": ({"train": TWO, "train_b": TWO, "val": TWO, "dev": TWO}, {}, r"^data has several "
                   "splits of validation images, val, dev: choose by data.val_split$"),
    "odd splits": ({"a": TWO, "b": TWO}, {}, r"^data has no split that is called train or valid"),
    "classes": ({"train": TWO, "test": table([0], ["c", "d"])}, {}, r"^the splits have differ"),
    "config": ({"only": TWO}, {"config": "x"}, r"^data.config=x: has no effect, data was written "),
    "root": ({"only": TWO}, {"root": "x"}, r"^data.root=x: has no effect, no image is stored as a"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_line_about_bad_data(name):
    splits, options, line = BAD[name]
    save(**splits)
    with pytest.raises(InputError, match=line) as caught:
        open_data("data", **options)
    assert "\n" not in str(caught.value)


def test_a_label_out_of_range():
    save(only=table([0, 2, 1], ["a", "b", "c"]))
    info = Path("data/dataset_info.json")
    info.write_text(info.read_text().replace('"c"', "").replace('"b",', '"b"'))
    with pytest.raises(InputError, match=r"^data/train\[1\]: label 2 is out of range: .* 0 to 1$"):
        open_data("data")


def test_one_line_about_what_cannot_be_loaded(monkeypatch, make_images, capsys):
    Path("empty").mkdir()
    Path("other").mkdir()
    Path("other/a.bin").write_text("a")
    Path("cut.parquet").write_text("PAR1")
    rows = {"image": ["a.png", "https://a.b/c.png"], "label": ["x", "y"]}
    hub.Dataset.from_dict(rows).to_parquet("server.parquet")
    hub.Dataset.from_dict({**rows, "image": ["a.png", "b.png"]}).to_parquet("gone.parquet")
    save(only=TWO)
    Path("data/data-00000-of-00001.arrow").write_bytes(b"cut")
    for name, line in (
        ("./missing", r"^data.dataset=./missing: there is no such folder or file$"),
        ("missing*.parquet", r"^data.dataset=missing\*.parquet cannot be read: "),
        (
            "owner/name",
            r"^data.dataset=owner/name is no folder here, and cannot be read from the Hu",
        ),
        ("empty", r"^data.dataset=empty cannot be read: The directory at"),
        ("other", r"^data.dataset=other cannot be read: No \(supported\) data files found in"),
        ("cut.parquet", r"^data.dataset=cut.parquet cannot be read: Parquet file size is 4 bytes"),
        ("data", r"^data.dataset=data cannot be read: "),
        ("server.parquet", r"^server.parquet/train has images on a server or in an archive "),
        ("gone.parquet", r"^2 images of the 2 in gone.parquet cannot be found in \.: a.png, b.png"),
    ):
        with pytest.raises(InputError, match=line) as caught:
            open_data(name)
        assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'needs datasets: pip install "rednet\[huggingface\]"$'):
        open_data("data")


def test_texts_that_are_not_utf_8():
    pyarrow = pytest.importorskip("pyarrow")
    column = pyarrow.array([b"\xff"]).view(pyarrow.string())
    with pytest.raises(InputError, match=r"^the column path has texts that are not UTF-8$"):
        read_texts(column, "path")


def test_the_configuration():
    save(train=table([0, 1]), validation=table([1, 0], first=2))
    data = ["model=rednet26", "data=huggingface", "data.dataset=data", "data.max_pixels=20"]
    splits = build_splits(compose("train", data).data, 0)
    assert (len(splits.train), len(splits.val)) == (2, 2)
    sample = ImageDataset(splits.train, np.asarray)[0, 0]
    assert sample.unreadable[1] == "it has 48 pixels, more than data.max_pixels=20"
    with pytest.raises(ConfigError) as caught:
        compose("train", [*data, "data.name=cifar10"])
    line, _ = caught.value.problems
    assert line.endswith("; data=huggingface data.dataset=NAME reads a data set of that name")
