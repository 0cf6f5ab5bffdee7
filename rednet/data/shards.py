"""Images and labels in tar shards, in the layout of webdataset."""

import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from rednet.data.assembling import assemble_splits
from rednet.data.folder_entries import IMAGE_SUFFIXES
from rednet.data.labels import index_labels, read_class_names
from rednet.data.sources import Splits
from rednet.data.split_names import TITLES, Split, parse_split
from rednet.data.tar_images import TarImages
from rednet.data.tar_index import stored_arrays, tar_members
from rednet.errors import InputError
from rednet.wording import count, join_names, printable

URL = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:")
CLASSES_FILE = "classes.txt"
"""Names of the classes next to shards, as `rednet.data.shard_writing` writes them."""
LABEL_EXTENSION = "cls"
LABEL_KEYS = ("label", "cls", "class")
"""Keys of the label in a sample's ``.json``, where there is no ``.cls``."""


class Member(NamedTuple):
    """A file of a sample: its name, offset and size in bytes."""

    name: str
    offset: int
    size: int


def open_shards(
    shards: str,
    *,
    val_shards: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: str | None = None,
    val_fraction: float,
    seed: int,
) -> Splits:
    """Open local shards, whose samples are files of the same name up to the first dot.

    The images are in the order of a folder of classes, by class and name, whatever shard they are
    in; each is read at its offset.

    Args:
        shards: A pattern such as ``train-{000..146}.tar`` or ``train-*.tar``, or a folder of shards
            whose names begin with their split, such as ``train-000.tar`` and ``val-000.tar``.
        val_shards: Pattern of the validation images' shards.
        image_column: Extension of the images; by default, that of an image.
        label_column: Extension of the labels, or key of the label in ``.json``; by default,
            `LABEL_EXTENSION` or one of `LABEL_KEYS`.
        classes: File of the names of the classes; by default, `CLASSES_FILE` next to the shards,
            if there is one.
        val_fraction: Fraction of each class's images to validate with, if there are no others.
        seed: Seed of the split.

    Raises:
        InputError: The webdataset package or a shard is missing, a shard is truncated, or a sample
            lacks an image or a label.
    """
    found = _find(shards, val_shards)
    paths = [path for split in found for path in found[split]]
    notes: list[str] = []
    if classes is None and (paths[0].parent / CLASSES_FILE).is_file():
        classes = str(paths[0].parent / CLASSES_FILE)
        notes.append(f"{printable(classes)} names the classes")
    indexed = [_open_shard(path, image_column, label_column, notes) for path in paths]
    whole = _join(paths, indexed, None if classes is None else read_class_names(classes))
    order = np.lexsort((whole.relative_names, np.asarray(whole.targets)))
    of_path = np.repeat(np.arange(len(found)), [len(found[split]) for split in found])
    of_image = of_path[whole.which[order]]
    sources: dict[Split, TarImages] = {
        split: whole.select(order[of_image == number]) for number, split in enumerate(found)
    }
    return assemble_splits(
        sources,
        {split: _describe(paths) for split, paths in found.items()},
        val_fraction=val_fraction,
        seed=seed,
        classes_are_given=classes is not None,
        notes=tuple(notes),
    )


def _find(shards: str, val_shards: str | None) -> dict[Split, list[Path]]:
    """Return the shards of each split."""
    if val_shards is not None or not os.path.isdir(shards):
        found: dict[Split, list[Path]] = {"train": _expand("data.shards", shards)}
        if val_shards is not None:
            found["val"] = _expand("data.val_shards", val_shards)
        if both := set(found["train"]) & set(found.get("val", ())):
            raise InputError(
                f"data.val_shards={val_shards}: also among data.shards: "
                f"{join_names(sorted(map(str, both)), limit=3)}"
            )
        return found
    by_split: dict[Split, list[Path]] = {split: [] for split in TITLES}
    for path in sorted(Path(shards).glob("*.tar")):
        parsed = parse_split(path.stem)
        by_split[parsed[0] if parsed else "train"].append(path)
    if not (found := {split: paths for split, paths in by_split.items() if paths}):
        raise InputError(f"data.shards={shards}: the folder has no file *.tar")
    return found


def _expand(key: str, pattern: str) -> list[Path]:
    """Return the files that a pattern with braces or stars stands for."""
    if URL.match(pattern):
        raise InputError(
            f"{key}={pattern}: a stream has no random access, by which a run is repeated and "
            "resumed exactly; download the shards and give their paths"
        )
    try:
        from webdataset.shardlists import expand_urls
    except ImportError as error:
        raise InputError(
            f'{key}={pattern} needs webdataset: pip install "rednet[webdataset]"'
        ) from error
    try:
        names = expand_urls(pattern.removeprefix("file:"))
    except ValueError as error:
        raise InputError(f"{key}={pattern}: {error}") from error
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        is_glob = re.search(r"[*?[]", path.name) and not path.exists()
        matches = sorted(path.parent.glob(path.name)) if is_glob else [path]
        if not matches:
            raise InputError(f"{key}={pattern}: no file is named so")
        paths += matches
    if missing := [str(path) for path in paths if not path.exists()]:
        raise InputError(
            f"{key}={pattern}: {count(len(missing), 'shard')} of {len(paths)} "
            f"{'are' if missing[1:] else 'is'} missing: {join_names(missing, limit=3)}"
        )
    return list(dict.fromkeys(paths))


def _describe(paths: Sequence[Path]) -> str:
    """Return the first and the last of some shards."""
    first = printable(paths[0])
    return f"{first} to {printable(paths[-1].name)}" if paths[1:] else first


def _open_shard(
    path: Path, image_column: str | None, label_column: str | None, notes: list[str]
) -> dict[str, np.ndarray]:
    """Return the names, offsets and sizes of the images in a shard, and their labels as bytes."""
    make = partial(_index_shard, path, image_column, label_column)
    arrays, note = stored_arrays(path, f"samples {image_column} {label_column}", make)
    if note and not any("cannot be stored" in line for line in notes):
        notes.append(note)
    return arrays


def _index_shard(
    path: Path, image_column: str | None, label_column: str | None, file: IO[bytes]
) -> dict[str, np.ndarray]:
    from webdataset.tariterators import base_plus_ext

    samples: list[tuple[str, dict[str, Member]]] = []
    for member in map(Member._make, tar_members(file)):
        key, extension = base_plus_ext(member.name)
        if key is None or (member.name.startswith("__") and member.name.endswith("__")):
            continue
        if not samples or samples[-1][0] != key:
            samples.append((key, {}))
        if (extension := extension.lower()) in samples[-1][1]:
            raise tarfile.ReadError(f"it has {printable(member.name)} twice")
        samples[-1][1][extension] = member
    if not samples:
        raise tarfile.ReadError("it has no samples, which are files such as 0001.jpg and 0001.cls")
    images = [_image(path, key, members, image_column) for key, members in samples]
    labels = [_label(path, key, members, label_column, file) for key, members in samples]
    return {
        "names": np.array([os.fsencode(image.name) for image in images]),
        "offsets": np.array([image.offset for image in images], np.int64),
        "sizes": np.array([image.size for image in images], np.int64),
        "labels": np.array([label.encode() for label in labels]),
    }


def _image(path: Path, key: str, members: Mapping[str, Member], column: str | None) -> Member:
    wanted = [
        extension
        for extension in members
        if (f".{extension}" in IMAGE_SUFFIXES if column is None else extension == column.lower())
    ]
    if len(wanted) == 1:
        return members[wanted[0]]
    if wanted:
        raise InputError(
            f"{_sample(path, key)} has several images, {_files(members)}: choose by "
            "data.image_column, such as data.image_column=jpg"
        )
    kind = "image" if column is None else f".{column}"
    raise InputError(f"{_sample(path, key)} has no {kind}, only {_files(members)}")


def _label(
    path: Path, key: str, members: Mapping[str, Member], column: str | None, file: IO[bytes]
) -> str:
    """Return a sample's label, from a file of its own or from the ``.json``."""
    extension = column or LABEL_EXTENSION
    if extension in members:
        value: Any = _read(file, members[extension])
    else:
        keys = LABEL_KEYS if column is None else (column,)
        try:
            content = json.loads(_read(file, members["json"])) if "json" in members else {}
            value = next((content[name] for name in keys if name in content), None)
        except (ValueError, TypeError) as error:
            raise InputError(f"{_sample(path, key)}: its .json is damaged: {error}") from error
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise InputError(f"{_sample(path, key)} has no label, only {_files(members)}")
    return str(value).strip()


def _read(file: IO[bytes], member: Member) -> str:
    file.seek(member.offset)
    try:
        return file.read(min(member.size, 2**20)).decode()
    except UnicodeDecodeError as error:
        raise tarfile.ReadError(f"{printable(member.name)} in it is not UTF-8") from error


def _sample(path: Path, key: str) -> str:
    return f"sample {printable(key)} of {printable(path)}"


def _files(extensions: Iterable[str]) -> str:
    return join_names([f".{extension}" for extension in extensions])


def _join(
    paths: Sequence[Path],
    indexed: Sequence[Mapping[str, np.ndarray]],
    class_names: Sequence[str] | None,
) -> TarImages:
    """Return the images of all shards as one source."""
    which = np.repeat(np.arange(len(paths)), [len(arrays["names"]) for arrays in indexed])
    names = np.concatenate([arrays["names"] for arrays in indexed])
    labels = np.concatenate([arrays["labels"] for arrays in indexed])

    def place(position: int) -> str:
        name = names[position].decode(errors="surrogateescape")
        return f"{printable(name)} in {printable(paths[which[position]])}"

    texts = [label.decode() for label in labels.tolist()]
    titles, targets = index_labels(texts, class_names, place)
    if len(set(names.tolist())) < len(names):  # the same keys in several shards
        stems = [os.fsencode(path.name) for path in paths]
        pairs = zip(which.tolist(), names.tolist(), strict=True)
        names = np.array([stems[number] + b"/" + name for number, name in pairs])
    return TarImages(
        paths,
        titles,
        targets,
        names,
        which.astype(np.int32),
        np.concatenate([arrays["offsets"] for arrays in indexed]),
        np.concatenate([arrays["sizes"] for arrays in indexed]),
    )
