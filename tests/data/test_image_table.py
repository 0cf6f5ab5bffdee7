"""Images whose labels and splits are in a table."""

import numpy as np
import pytest

from rednet.build.data import build_splits
from rednet.config import compose
from rednet.data import ImageDataset, fingerprint, open_image_folder, open_image_table
from rednet.data.tables import read_table
from rednet.errors import InputError

NAMES = [f"{name}/{number}.png" for name in ("day10", "day9") for number in (0, 1, 2)]
ROWS = [f"{name},{name.partition('/')[0]}" for name in NAMES]


@pytest.fixture
def open_table(make_images, tmp_path):
    """Return a function that opens a table of six images, given its text or its lines."""
    make_images(*NAMES)

    def open_it(text, name="table.csv", **options):
        text = text if isinstance(text, bytes) else "\n".join(text).encode()
        (tmp_path / name).write_bytes(text)
        return open_image_table(str(tmp_path / name), **{"val_fraction": 0.4, "seed": 3, **options})

    return open_it


def samples(source):
    return [(source.relative_names[i].decode(), source.targets[i]) for i in range(len(source))]


def test_a_table_is_the_same_data_set_as_the_folder(open_table, tmp_path):
    """Whatever the order of its rows, so that a run of one continues with the other."""
    table = open_table(["path,label", *reversed(ROWS)])
    folder = open_image_folder(str(tmp_path), val_fraction=0.4, seed=3)
    for split in ("train", "val", "whole"):
        ours, theirs = getattr(table, split), getattr(folder, split)
        assert samples(ours) == samples(theirs)
        assert fingerprint(ours) == fingerprint(theirs)
        assert ours.class_names == theirs.class_names == ["day10", "day9"]
        assert ours.read_bytes(0) == theirs.read_bytes(0)
    assert len(table.val) == 2


def test_columns_splits_and_numbers(open_table, tmp_path):
    (tmp_path / "names.txt").write_text("zebra\nant\nbee\n")
    rows = [f"{'1.0' if 'day9' in name else '0'};{tmp_path}/{name};x" for name in NAMES[:4]]
    rows = [
        f"{row};{split}"
        for row, split in zip(rows, ("Train", "train", "dev", "train"), strict=True)
    ]
    options = {"image_column": "Where, exactly", "label_column": "y", "classes": None}
    head = 'y;"Where, exactly";note;Split'
    splits = open_table([head, *rows], **options)
    assert samples(splits.train) == [(NAMES[0], 0), (NAMES[1], 0), (NAMES[3], 1)]
    assert samples(splits.val) == [(NAMES[2], 0)]
    assert splits.train.class_names == ["0", "1"]
    assert splits.notes == ("warning: no validation images of 1 class: 1",)
    options["classes"] = str(tmp_path / "names.txt")
    named = open_table("\r\n".join([head, *rows]).encode("utf-16"), "table.txt", **options)
    assert named.train.class_names == ["zebra", "ant", "bee"]
    assert samples(named.train) == samples(splits.train)


def test_repeated_rows(open_table):
    split = [f"{row},train" for row in ROWS]
    splits = open_table(["path,label,split", *split, split[0], f"{ROWS[1]},test"])
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6, 1, 1)
    repeat, shared, missing = splits.notes
    assert repeat.startswith("1 row of ") and repeat.endswith(" repeat others: not read")
    assert shared == "warning: 1 image can be found in several splits, such as day10/1.png"
    assert missing == "warning: no test images of 1 class: day9"


def test_parquet(open_table, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason='needs pip install "rednet[parquet]"')
    from pyarrow import parquet

    path = tmp_path / "table.parquet"
    labels = [int("day9" in name) for name in NAMES]
    content = pyarrow.table({"image": NAMES, "label": labels, "boxes": [[1]] * 6})
    parquet.write_table(content, path)
    splits = open_image_table(str(path), val_fraction=0.4, seed=3)
    assert samples(splits.whole) == list(zip(NAMES, labels, strict=True))
    assert list(read_table(path).columns) == ["image", "label"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"cannot be read as parquet: "):
        read_table(path)


OUT = "day10/0.png,day10\nday9/0.png,day9\n"
BAD = {
    "no rows": ("path,label\n", r" has no rows"),
    "wrong column": ("a,b\n" + OUT, r" has no column path or .*: give data.image_column, one of a"),
    "no header": (OUT, r"one of day10/0.png, day10; is the header line missing\?"),
    "both": ("path,file,label\na,a,b\n", r" has columns path, file: choose one by data.image_col"),
    "twice": ("path,path\n", r" has columns of the same name: path"),
    "fields": ("path,label\n" + OUT + "a\n", r"^row 4 of .* has 1 field, its header line has 2"),
    "quote": ('path,label\n"a,b\n', r" is no CSV or parquet file: unexpected end of data"),
    "no label": ("path,label\n" + OUT + "a,\n", r"^row 4 of .* has no label"),
    "no path": ("path,label\n" + OUT + ",a\n", r"^row 4 of .* has no path of an image"),
    "one class": ("path,label\na,b\nc,b\n", r"row 2 of .* have the label b: expected two or more"),
    "range": ("path,label\na,0\nb,1\nc,7\n", r"^row 4 of .*: label 7 is out of range: 3 .* no 2;"),
    "split": ("path,label,split\na,b,train\nc,d,5\n", r"^row 3 of .*: 5 is no split, in col"),
    "missing": (f"path,label\n{OUT}a,day9\n", r"^1 image of the 3 in .* found in .*: a; data.root"),
    "labels": (f"path,label\n{OUT}./day9/0.png,day10\n", r"^row 4 .* label day10, and day9 in"),
    "classes": (
        "path,label,split\nday9/0.png,a,train\nday9/1.png,b,train\nday9/2.png,c,test\n",
        r" has test images of classes that the training images lack: c",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_one_line_about_a_bad_table(text, open_table):
    text, line = BAD[text]
    with pytest.raises(InputError, match=line) as caught:
        open_table(text.encode())
    assert "\n" not in str(caught.value)


def test_one_line_about_bad_classes_and_keys(open_table, tmp_path):
    rows = ["path,label", *ROWS]
    with pytest.raises(InputError, match=r"data.label_column=y: .*; its columns are path, label$"):
        open_table(rows, label_column="y")
    names = tmp_path / "names.txt"
    for text, line in (
        ("day9\n", "expected two or more names of classes, one a line"),
        ("day9\nday9\n", "has names twice: day9"),
        ("day9\nday11\n", "row 2 of .*: label day10 is not among the 2 classes of data.classes: d"),
    ):
        names.write_text(text)
        with pytest.raises(InputError, match=line):
            open_table(rows, classes=str(names))
    with pytest.raises(InputError, match=r"label 2 is out of range: data.classes names 2 classes"):
        open_table(["path,label", "a,2", "b,0"], classes=str(names))
    with pytest.raises(InputError, match=r"missing.csv cannot be read: No such file or directory"):
        read_table(tmp_path / "missing.csv")


def test_the_configuration(open_table, tmp_path):
    open_table(["path,label", *ROWS])
    data = ["model=rednet26", "data=csv", f"data.table={tmp_path}/table.csv", "data.max_pixels=20"]
    config = compose("train", [*data, "data.class_order=natural", "data.val_fraction=0.4"])
    splits = build_splits(config.data, 3)
    assert splits.train.class_names == ["day9", "day10"]
    sample = ImageDataset(splits.train, np.asarray)[0, 0]
    assert sample.unreadable[1] == "it has 48 pixels, more than data.max_pixels=20"
    open_table(
        ["path,label", *(row.replace(",day10", ",1").replace(",day9", ",0") for row in ROWS)]
    )
    with pytest.raises(
        InputError, match=r"data.class_order: has no effect, the labels are numbers"
    ):
        build_splits(config.data, 3)
