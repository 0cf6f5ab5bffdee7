"""Open the data set that the configuration names."""

from rednet.config import Data
from rednet.data import (
    EncodedImages,
    ImageFiles,
    Splits,
    open_fashion_mnist,
    open_huggingface,
    open_image_folder,
    open_image_table,
    open_imagenet,
    open_shards,
)
from rednet.data.imagenet_sets import EVALUATION_SETS, REAL, open_evaluation_set
from rednet.errors import InputError


def place_of(data: Data) -> str | None:
    """Return the folder, file or data set that the user names, None for embedded images."""
    return data.table or data.shards or data.dataset or data.root


def open_splits(data: Data, seed: int, split: str = "train") -> Splits:
    """Open all images of a data set.

    Args:
        data: Configuration of the data.
        seed: Seed of the split of a folder without splits.
        split: The split that is needed most; ImageNet's training images are opened for "train"
            only.

    Raises:
        InputError: The data is missing or not in the expected layout.
    """
    splits = _open_splits(data, seed, split)
    for source in (splits.train, splits.val, splits.test, splits.whole):
        if isinstance(source, ImageFiles | EncodedImages):
            source.max_pixels = data.max_pixels
    return splits


def _open_splits(data: Data, seed: int, split: str) -> Splits:
    if data.name == "fashion_mnist":
        return open_fashion_mnist(data.root)
    if data.name == "csv":
        return _open_table(data, seed)
    if data.name == "webdataset":
        return _open_shards(data, seed)
    if data.name == "huggingface":
        return _open_huggingface(data, seed)
    if data.root is None:
        variable = " or set $IMAGENET_ROOT" if data.name in ("imagenet", REAL) else ""
        other = (
            "" if data.name in EVALUATION_SETS else "; data=fashion_mnist comes with the package"
        )
        raise InputError(f"data={data.name} needs a folder: give data.root=FOLDER{variable}{other}")
    if data.name in EVALUATION_SETS:
        return open_evaluation_set(data.name, data.root)
    if data.name == "imagenet":
        return open_imagenet(data.root, train=split == "train")
    return open_image_folder(data.root, val_fraction=data.val_fraction, seed=seed)


def _open_table(data: Data, seed: int) -> Splits:
    if data.table is None:
        raise InputError("data=csv needs a table: give data.table=FILE")
    return open_image_table(
        data.table,
        root=data.root,
        image_column=data.image_column,
        label_column=data.label_column,
        split_column=data.split_column,
        classes=data.classes,
        val_fraction=data.val_fraction,
        seed=seed,
    )


def _open_shards(data: Data, seed: int) -> Splits:
    if data.shards is None:
        raise InputError("data=webdataset needs shards: give data.shards=PATTERN")
    return open_shards(
        data.shards,
        val_shards=data.val_shards,
        image_column=data.image_column,
        label_column=data.label_column,
        classes=data.classes,
        val_fraction=data.val_fraction,
        seed=seed,
    )


def _open_huggingface(data: Data, seed: int) -> Splits:
    if data.dataset is None:
        raise InputError("data=huggingface needs a data set: give data.dataset=FOLDER or NAME")
    return open_huggingface(
        data.dataset,
        config=data.config,
        train_split=data.train_split,
        val_split=data.val_split,
        root=data.root,
        image_column=data.image_column,
        label_column=data.label_column,
        classes=data.classes,
        val_fraction=data.val_fraction,
        seed=seed,
    )
