"""ImageNet-1k from the tar files that image-net.org offers, read where they lie."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from rednet.data.imagenet_names import imagenet_synsets, val_label
from rednet.data.split_names import Split
from rednet.data.tar_images import TarImages
from rednet.data.tar_index import TarIndex, open_index
from rednet.errors import InputError
from rednet.wording import join_names, printable

TARS: dict[Split, str] = {
    "train": "ILSVRC2012_img_train.tar",
    "val": "ILSVRC2012_img_val.tar",
}


def find_tars(folder: Path, splits: Collection[Split]) -> dict[Split, Path]:
    """Return the tar file of each of the splits that has one in a folder."""
    paths = {split: folder / name for split, name in TARS.items() if split in splits}
    return {split: path for split, path in paths.items() if path.is_file()}


def open_tar(tar: Path, split: Split, notes: list[str]) -> TarImages:
    """Open the images of a tar, with the names and in the order of folders of synsets.

    Args:
        tar: The tar of the training images, which holds a tar for each class, or that of the
            validation images.
        split: Which of the two.
        notes: Lines that the user should read; one is added if the index cannot be stored.

    Raises:
        InputError: The tar is truncated, or is not the one of these images.
    """
    index, note = open_index(tar, nested=split == "train")
    if note:
        notes.append(note)
    if not len(index.names):
        raise InputError(f"{printable(tar)} holds no images: download it again")
    names, targets = _train_labels(tar, index) if split == "train" else _val_labels(tar, index)
    order = np.lexsort((names, targets))
    return TarImages(
        [tar],
        list(imagenet_synsets()),
        targets[order],
        names[order],
        np.zeros(len(order), np.int32),
        index.offsets[order],
        index.sizes[order],
    )


def _train_labels(tar: Path, index: TarIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the names, such as ``n01440764/n01440764_18.JPEG``, and the classes of the images."""
    position = {synset.encode(): number for number, synset in enumerate(imagenet_synsets())}
    folders = [name.partition(b"/")[0] for name in index.names.tolist()]
    if unknown := sorted(set(folders) - position.keys()):
        found = join_names([name.decode(errors="surrogateescape") for name in unknown])
        raise InputError(
            f"{printable(tar)} has parts that are not the tars of the 1000 ImageNet synsets (such "
            f"as {imagenet_synsets()[0]}.tar): {found}"
        )
    return index.names, np.array([position[folder] for folder in folders], np.int64)


def _val_labels(tar: Path, index: TarIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return names as in folders of synsets, and the classes of the validation images."""
    files = [name.decode(errors="surrogateescape") for name in index.names.tolist()]
    targets = [val_label(tar, file) for file in files]
    synsets = imagenet_synsets()
    names = [
        f"{synsets[target]}/{file.rpartition('/')[2]}"
        for target, file in zip(targets, files, strict=True)
    ]
    return np.array([name.encode() for name in names]), np.array(targets, np.int64)
