"""Tar shards in the layout of webdataset, and the command that writes them."""

import io
import os
import signal
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rednet.build.data import build_splits
from rednet.commands import make_shards
from rednet.config import compose
from rednet.data import fingerprint, open_image_folder
from rednet.data.shard_writing import write_shards
from rednet.errors import InputError

tariterators = pytest.importorskip(
    "webdataset.tariterators", reason='needs pip install "rednet[webdataset]"'
)

NAMES = [f"{name}/{number}.png" for name in ("ant", "bee") for number in range(3)]


def encode(number, size=(8, 6)):
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


IMAGE = encode(0)


def write_shard(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def open_data(*overrides):
    config = compose("train", ["model=rednet26", "data=webdataset", *map(str, overrides)])
    return build_splits(config.data, config.seed)


def samples(source):
    return [(source.relative_names[i].decode(), source.targets[i]) for i in range(len(source))]


def read_by_webdataset(paths):
    """Names and labels as webdataset itself reads them."""
    found = []
    for path in paths:
        with path.open("rb") as file:
            files = ({**each, "__url__": ""} for each in tariterators.tar_file_iterator(file))
            for sample in tariterators.group_by_keys(files):
                found.append((f"{sample['__key__']}.png", int(sample["cls"])))
    return found


def write_nothing(_):
    pass


def die(_):
    os._exit(1)


def test_workers_end_whatever_handler_they_inherit(tmp_path, monkeypatch):
    """submitit's, in a job of Slurm, lets the signal pass."""
    monkeypatch.setattr("rednet.data.shard_writing.write_shard", write_nothing)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        for number in range(5):
            write_shards([SimpleNamespace(path=tmp_path / f"{number}.tar")], "train", workers=2)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_worker_that_dies_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("rednet.data.shard_writing.write_shard", die)
    shards = [SimpleNamespace(path=tmp_path / f"{number}.tar") for number in range(3)]
    with pytest.raises(InputError, match="a process that wrote one has died"):
        write_shards(shards, "train", workers=2)


def test_shards_are_the_same_data_set_as_the_folder(make_images, tmp_path, capsys):
    root, out = make_images(*(f"images/{name}" for name in NAMES)) + "/images", tmp_path / "out"
    argv = [str(out), "--images", "2", "data=image_folder", f"data.root={root}"]
    assert make_shards(argv) == 0
    assert "train: 4 images in 2 shards, " in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "train-00001.tar").unlink()  # as after an interruption
    assert make_shards([*argv, "--workers", "2"]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    folder = open_image_folder(root, val_fraction=0.1, seed=0)
    shards = open_data(f"data.shards={out}")
    for split in ("train", "val"):
        ours, theirs = getattr(shards, split), getattr(folder, split)
        assert (samples(ours), fingerprint(ours)) == (samples(theirs), fingerprint(theirs))
        for index in range(len(ours)):
            ours.check(index)
            assert ours.read_bytes(index) == theirs.read_bytes(index)
            assert ours.load(index).tobytes() == theirs.load(index).tobytes()
    assert shards.train.class_names == ["ant", "bee"]
    assert shards.train.name_of(0) == f"{out}/train-00000.tar/{samples(shards.train)[0][0]}"
    assert shards.origins["train"] == f"{out}/train-00000.tar to train-00001.tar"
    assert read_by_webdataset(sorted(out.glob("train-*.tar"))) == samples(shards.train)
    assert make_shards([*argv, "--quality", "80"]) == 2
    assert "has shards of other images or settings" in capsys.readouterr().err


def test_large_images_are_reduced(tmp_path, capsys):
    for number, size in enumerate([(300, 400), (256, 300)]):
        for name in ("ant", "bee"):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "images" / name / f"a.b.{number}.png"
            path.write_bytes(encode(number, size))
    (tmp_path / "images/bee/cut.jpg").write_bytes(b"\xff\xd8\xff")
    data = ["data=image_folder", f"data.root={tmp_path}/images", "data.val_fraction=1"]
    argv = ["--short-side", "256", "--quality", "70", *data]
    assert make_shards([str(tmp_path / "out"), *argv]) == 0
    val = open_data(f"data.shards={tmp_path}/out/val-00000.tar", "data.val_fraction=0.1")
    whole = {name: index for index, (name, _) in enumerate(samples(val.train))}
    assert {"ant/a_b_1.png", "bee/cut.jpg"} <= whole.keys() | {n for n, _ in samples(val.val)}
    for source in (val.train, val.val):
        for index, (name, _) in enumerate(samples(source)):
            if name.endswith("_0.jpg"):
                assert source.load(index).size == (341, 256)
    fashion = ["data=fashion_mnist", "data.val_samples=null"]
    assert make_shards([str(tmp_path / "out"), *fashion]) == 2
    assert make_shards([str(tmp_path / "images"), *fashion]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_labels_in_json_and_names_that_repeat(tmp_path):
    for number in (0, 1):
        files = {"x.JPEG": IMAGE, "x.json": f'{{"label": "{"ab"[number]}", "n": {number}}}'}
        files |= {"y.seg.png": IMAGE, "y.JPEG": IMAGE, "y.json": '{"label": "a", "n": 1}'}
        write_shard(tmp_path / f"{number}.tar", files)
    pattern = f"data.shards='{tmp_path}/{{0..1}}.tar'"
    splits = open_data(pattern)
    assert len(splits.whole) == 4
    assert samples(splits.whole)[0] == ("0.tar/x.JPEG", 0)
    assert splits.train.class_names == ["a", "b"]
    assert open_data(pattern, "data.label_column=n").train.class_names == ["0", "1"]


GOOD = {"1.png": IMAGE, "1.cls": "0", "2.png": IMAGE, "2.cls": "1"}
BAD = {
    "no label": ({**GOOD, "3.png": IMAGE}, r"^sample 3 of .*a.tar has no label, only .png$"),
    "no image": ({**GOOD, "3.cls": "1"}, r"^sample 3 of .*a.tar has no image, only .cls$"),
    "two images": ({**GOOD, "2.jpg": IMAGE}, r"has several images, .png, .cls, .jpg: choose by"),
    "twice": ({**GOOD, "2.PNG": IMAGE}, r"a.tar cannot be read: it has 2.PNG twice"),
    "json": ({"1.png": IMAGE, "1.json": "{"}, r"^sample 1 of .*: its .json is damaged"),
    "range": ({**GOOD, "2.cls": "7"}, r"^2.png in .*a.tar: label 7 is out of range: 2 different"),
    "nothing": ({"readme": ""}, r"it has no samples, which are files such as 0001.jpg"),
}


@pytest.mark.parametrize("files", BAD)
def test_one_line_about_a_bad_shard(files, tmp_path):
    files, line = BAD[files]
    write_shard(tmp_path / "a.tar", files)
    with pytest.raises(InputError, match=line) as caught:
        open_data(f"data.shards={tmp_path}/a.tar")
    assert "\n" not in str(caught.value)


def test_one_line_about_bad_patterns(tmp_path):
    write_shard(tmp_path / "0.tar", GOOD)
    pattern = f"data.shards='{tmp_path}/{{0..2}}.tar'"
    with pytest.raises(InputError, match=r"2 shards of 3 are missing: .*/1.tar, .*/2.tar$"):
        open_data(pattern)
    for url in ("https://a.b/c-{0..2}.tar", "pipe:cat 0.tar", "s3://a/b.tar"):
        with pytest.raises(InputError, match=r"a stream has no random access, by which a run"):
            open_data(f"data.shards='{url}'")
    for value, line in (("x*.tar", "no file is named so"), ("{0..2.tar", "Unbalanced braces: ")):
        with pytest.raises(InputError, match=line):
            open_data(f"data.shards='{tmp_path}/{value}'")
    with pytest.raises(InputError, match=r"also among data.shards"):
        open_data(f"data.shards={tmp_path}/0.tar", f"data.val_shards={tmp_path}/0.tar")
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"^tar file .*0.tar cannot be read: unexpected end of d"):
        open_data(f"data.shards={tmp_path}/0.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"the folder has no file \*.tar"):
        open_data(f"data.shards={tmp_path}/empty")
