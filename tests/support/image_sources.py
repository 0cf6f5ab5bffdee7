"""The same images as a folder of classes and as every other kind of data."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SYNSETS = ("n01440764", "n01443537")
COUNTS = {"train": 10, "val": 5}


def write_folder(root: Path) -> None:
    """Write images/train/<class>/ and images/val/<class>/, 20 and 10 images of 12 x 12 pixels."""
    numbers = iter(range(100))
    for split, count in COUNTS.items():
        for synset in SYNSETS:
            folder = root / "images" / split / synset
            folder.mkdir(parents=True)
            for number in range(count):
                rng = np.random.default_rng(next(numbers))
                pixels = rng.integers(0, 256, (12, 12, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{synset}_{number}.png")


def open_as(kind: str, root: Path) -> list[str]:
    """Store the images of `write_folder` as another kind of data; return the keys that open it."""
    images = sorted((root / "images").rglob("*.png"))
    keys = {
        "csv": _write_table,
        "webdataset": _write_shards,
        "imagenet": _write_tars,
        "huggingface": _write_arrow,
    }[kind](root, images)
    return [f"data={kind}", *keys]


def _write_table(root: Path, images: Iterable[Path]) -> list[str]:
    rows = [f"{path},{path.parent.name},{path.parent.parent.name}" for path in images]
    (root / "table.csv").write_text("\n".join(["path,label,split", *rows]))
    return [f"data.table={root}/table.csv"]


def _write_shards(root: Path, images: Iterable[Path]) -> list[str]:
    pytest.importorskip("webdataset", reason='needs pip install "rednet[webdataset]"')
    from rednet.commands import make_shards

    folder = ["data=image_folder", f"data.root={root}/images"]
    assert make_shards([str(root / "shards"), "--images", "8", *folder]) == 0
    return [f"data.shards={root}/shards"]


def _write_tars(root: Path, images: Iterable[Path]) -> list[str]:
    """Write the archives of ImageNet; the names of the validation images say their classes."""
    by_class = {synset: {} for synset in SYNSETS}
    val = {}
    for path in images:
        content = path.read_bytes()
        if path.parent.parent.name == "train":
            by_class[path.parent.name][f"{path.stem}.JPEG"] = content
        else:
            val[f"ILSVRC2012_val_{len(val) + 1:08d}.JPEG"] = content
    parts = {f"{synset}.tar": _tar(files) for synset, files in by_class.items()}
    (root / "tars").mkdir()
    (root / "tars/ILSVRC2012_img_train.tar").write_bytes(_tar(parts))
    (root / "tars/ILSVRC2012_img_val.tar").write_bytes(_tar(val))
    return [f"data.root={root}/tars"]


def _tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _write_arrow(root: Path, images: Iterable[Path]) -> list[str]:
    reason = 'needs pip install "rednet[huggingface]"'
    datasets = pytest.importorskip("datasets", reason=reason)
    splits = {split: [] for split in COUNTS}
    for path in images:
        label = SYNSETS.index(path.parent.name)
        image = {"bytes": path.read_bytes(), "path": path.name}
        splits[path.parent.parent.name].append({"image": image, "label": label})
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(SYNSETS))}
    features = datasets.Features(kinds)
    tables = {
        split: datasets.Dataset.from_list(rows, features=features) for split, rows in splits.items()
    }
    datasets.DatasetDict(tables).save_to_disk(root / "arrow")
    return [f"data.dataset={root}/arrow"]
