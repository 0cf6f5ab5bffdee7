"""ImageNet-1k (ILSVRC 2012) from its usual folders, with the standard class indices."""

import os
from collections.abc import Mapping
from pathlib import Path

from rednet.data.class_folders import hints_for, images_by_class, warn_of_missing
from rednet.data.classes import classes_with_images
from rednet.data.folder_layout import Layout, find_class_folders, find_layout
from rednet.data.folder_reader import FolderReader
from rednet.data.image_files import ImageFiles, label_images
from rednet.data.imagenet_names import NUM_CLASSES, imagenet_synsets, val_label
from rednet.data.imagenet_tars import TARS, find_tars, open_tar
from rednet.data.listing import Listing
from rednet.data.sources import ImageSource, Splits
from rednet.data.split_names import TITLES, Split
from rednet.data.tar_images import TarImages
from rednet.errors import InputError
from rednet.wording import join_names, printable


def open_imagenet(root: str, *, train: bool = True) -> Splits:
    """Open ``root/train/<synset>/`` and ``root/val/<synset>/`` or a flat ``root/val/``.

    The folders of the splits are recognised by name, as in `open_image_folder`; they can be in a
    lone folder, such as ``ILSVRC/Data/CLS-LOC``. The index of a class is the position of its synset
    in the standard list, even where classes are missing. A split without a folder is read from
    ``root/ILSVRC2012_img_train.tar`` or ``root/ILSVRC2012_img_val.tar``, with the same names and in
    the same order as from folders of synsets. With ``train=False`` only the other images
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
    needed: tuple[Split, ...] = ("train", "val") if train else ("val",)
    tars = find_tars(layout.folder, [split for split in needed if split not in layout.splits])
    if train and "train" not in tars:
        _require_split(layout, "train")
    if "val" not in tars:
        _require_split(layout, "val")
    wanted = {s: path for s, path in layout.splits.items() if train or s != "train"}
    folders = find_class_folders(wanted, reader, imagenet_synsets())
    sources: dict[Split, ImageFiles | TarImages] = {**_open_folders(folders, reader)}
    for split, tar in tars.items():
        sources[split] = open_tar(tar, split, reader.notes)
    _warn_of_missing(sources, reader)
    places = {**{split: folders[split] for split in folders if split in sources}, **tars}
    return Splits(
        train=sources.get("train"),
        val=sources["val"],
        test=sources.get("test"),
        origins={split: printable(place) for split, place in places.items()},
        notes=tuple(reader.notes),
        unused=reader.unused,
        not_read=reader.not_read,
    )


def _require_split(layout: Layout, split: Split) -> None:
    if split not in layout.splits:
        path = printable(layout.folder)
        flat = f" or {path}/val/ILSVRC2012_val_*.JPEG" if split == "val" else ""
        raise InputError(
            f"{path} has no folder {split}: expected {path}/{split}/<synset>/*.JPEG{flat} or "
            f"{path}/{TARS[split]}"
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
    return sources


def _warn_of_missing(sources: Mapping[Split, ImageSource], reader: FolderReader) -> None:
    if "train" in sources:
        trained = classes_with_images(sources["train"])
        for split in sources.keys() - {"train"}:
            found = set(classes_with_images(sources[split]))
            reader.notes += warn_of_missing(trained, found, TITLES[split])


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
    samples = [(name, val_label(folder, name)) for name in names]
    return ImageFiles(folder, list(imagenet_synsets()), samples)


def _open_synsets(listing: Listing, reader: FolderReader) -> ImageFiles:
    class_index = {synset: index for index, synset in enumerate(imagenet_synsets())}
    unknown = [name for name in listing.images if name not in class_index]
    if unknown:
        raise InputError(
            f"{printable(listing.root)} has folders that are not among the {NUM_CLASSES} "
            f"ImageNet synsets (such as {imagenet_synsets()[0]}): {join_names(unknown)}; "
            "data=image_folder reads other classes"
        )
    images = images_by_class(listing, reader)
    return ImageFiles(listing.root, list(class_index), label_images(images, class_index))
