"""What a run says about its data, in names that any terminal and any program can take."""

import csv
import json
import os

RED, NO_UTF_8 = "\x1b[31mred", os.fsdecode(b"\xff\xfe")
NAMES = [RED, "=1+1", NO_UTF_8]
SHOWN = [r"\x1b[31mred", "=1+1", r"\xff\xfe"]


def is_plain(text):
    text.encode()
    return all(line.isprintable() for line in text.split("\n"))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_says_what_it_reads_and_what_not(train_tiny, make_images, tmp_path):
    make_images("set/Training", ["cat", "dog"], 5)
    make_images("set/Training", ["cat"], 6)
    root = make_images("set/Testing", ["cat", "dog"], 3).parent
    (root / "labels.csv").touch()
    (root / "annotations").mkdir()
    sizes = ["data.train_samples=null", "data.val_samples=null", "output_dir=run"]
    done = train_tiny("data=image_folder", f"data.root={tmp_path / 'set'}", *sizes)
    assert done.out.splitlines()[:5] == [
        "2 classes, cat to dog; 5 to 6 training images each",
        f"training images from {root}/Training; validation and test images from {root}/Testing",
        "not read: 1 file without the suffix of an image (1 .csv), 1 folder beside those that are "
        "read (annotations); listed in run/not_read.csv",
        "network    test_resnet: 0.37 M parameters",
        "data       image_folder: 11 training and 6 validation images, 2 classes",
    ]


def test_foreign_names_reach_neither_terminal_nor_files(
    train_tiny, evaluate, make_images, work_folder
):
    make_images("set/Train", NAMES)
    root = make_images("set/Val", NAMES).parent
    (root / "Val" / RED / "0.png").write_bytes(b"no image")
    (root / "Val" / RED / f"{RED}{NO_UTF_8}.txt").touch()
    data = ["data=image_folder", f"data.root={root}", "data.train_samples=null"]
    data += ["data.val_samples=null", "data.on_unreadable=skip"]
    trained = train_tiny(*data, "output_dir=run")
    evaluated = evaluate(*data[:2], data[-1], "checkpoint=run/checkpoints/best.pt", "output_dir=ev")
    assert trained.code == evaluated.code == 0
    assert rf"3 classes, {SHOWN[0]} to {SHOWN[2]};" in trained.out
    for text in (trained.out, trained.err, evaluated.out, evaluated.err):
        assert is_plain(text)
    (row,) = read_csv(work_folder / "run/not_read.csv")
    assert row["path"] == rf"{root}/Val/{SHOWN[0]}/{SHOWN[0]}{SHOWN[2]}.txt"
    rows = read_csv(work_folder / "ev/per_class.csv")
    assert [row["class"] for row in rows] == [SHOWN[0], "'=1+1", SHOWN[2]]
    scores = json.loads((work_folder / "ev/evaluation.json").read_text("utf-8"))
    assert scores["unreadable"][0][0] == rf"{root}/Val/{SHOWN[0]}/0.png"
    assert is_plain(str(scores))


def test_a_refused_command_leaves_the_list_of_the_run_as_it_is(
    train_tiny, make_images, work_folder
):
    data = ["data=image_folder", "data.train_samples=null", "data.val_samples=null"]
    roots = [make_images(f"{name}/train", ["cat", "dog"]).parent for name in ("one", "other")]
    for root in roots:
        make_images(f"{root}/val", ["cat", "dog"])
        (root / "train" / "cat" / f"{root.name}.txt").touch()
    assert train_tiny(*data, f"data.root={roots[0]}", "output_dir=run").code == 0
    before = (work_folder / "run/not_read.csv").read_bytes()
    (roots[1] / "train" / "dog" / "0.png").unlink()
    refused = train_tiny(*data, f"data.root={roots[1]}", "output_dir=run")
    assert refused.code == 2
    assert "belongs to a run with other settings" in refused.err
    assert (work_folder / "run/not_read.csv").read_bytes() == before
