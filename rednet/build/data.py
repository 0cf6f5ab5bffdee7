"""Build data sets, preprocessing and loaders from the configuration."""

import dataclasses

from rednet.config import Augment, Config, Data
from rednet.config.data_effects import ORDERABLE
from rednet.data import (
    Augmentation,
    EncodedImages,
    EvalSampler,
    ImageDataset,
    ImageFiles,
    ImageLoader,
    ImageSource,
    Preprocessing,
    RelabelledSource,
    Splits,
    TrainSampler,
    balanced_subset,
    default_num_workers,
    eval_transform,
    open_fashion_mnist,
    open_image_folder,
    open_image_table,
    open_imagenet,
    open_shards,
    order_classes,
    train_transform,
)
from rednet.data.limits import require_room_for_workers
from rednet.errors import InputError
from rednet.runtime import Runtime
from rednet.wording import count


def build_splits(data: Data, seed: int) -> Splits:
    """Open the training and validation data of a run.

    Args:
        data: Configuration of the data.
        seed: Seed of the split, for data without a validation folder.

    Raises:
        InputError: The data is missing or not in the expected layout.
    """
    splits = open_splits(data, seed)
    train = _in_class_order(_require(splits, "train", data), data)
    val = _in_class_order(_require(splits, "val", data), data)
    return dataclasses.replace(
        splits,
        train=take_samples(train, data.train_samples, "data.train_samples"),
        val=take_samples(val, data.val_samples, "data.val_samples"),
    )


def _require(splits: Splits, split: str, data: Data) -> ImageSource:
    source: ImageSource | None = getattr(splits, split)
    if source is not None:
        return source
    purpose = "train on" if split == "train" else "validate with"
    place = place_of(data)
    if splits.whole is None:
        raise InputError(f"{place} has no images to {purpose}")
    if split == "train":
        raise InputError(
            f"data.val_fraction={data.val_fraction:g} of {place} leaves nothing to {purpose}"
        )
    more = "a folder val" if data.name == "image_folder" else "validation images"
    raise InputError(
        f"{place} has one image in each class and none to {purpose}: add images or {more}"
    )


def has_numbered_classes(source: ImageSource, data: Data) -> bool:
    """Return whether the data itself says which class has which index, unlike names of folders."""
    if data.name not in ORDERABLE or data.classes is not None:
        return True
    names = source.class_names
    return data.name == "csv" and names == [str(index) for index in range(len(names))]


def place_of(data: Data) -> str | None:
    """Return the folder or file that the user names for the data, None for embedded images."""
    return data.table or data.shards or data.root


def _in_class_order(source: ImageSource, data: Data) -> ImageSource:
    is_idle = data.name not in ORDERABLE or data.classes is not None
    if data.class_order is None or is_idle:
        return source
    if has_numbered_classes(source, data):
        raise InputError("data.class_order: has no effect, the labels are numbers")
    return RelabelledSource(source, order_classes(source.class_names, data.class_order))


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
    if data.root is None:
        variable = " or set $IMAGENET_ROOT" if data.name == "imagenet" else ""
        raise InputError(
            f"data={data.name} needs a folder: give data.root=FOLDER{variable}; "
            "data=fashion_mnist comes with the package"
        )
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


def take_samples(source: ImageSource, samples: int | None, key: str) -> ImageSource:
    """Return the first images, balanced over the classes; None stands for all.

    Raises:
        InputError: There are fewer images; the message names the configuration key.
    """
    if samples is None:
        return source
    if samples > len(source):
        raise InputError(f"{key}={samples}: the data has only {count(len(source), 'image')}")
    return balanced_subset(source, samples)


def build_train_data(
    source: ImageSource, preprocessing: Preprocessing, config: Config, runtime: Runtime
) -> tuple[TrainSampler, ImageLoader]:
    """Build the sampler and the loader of the training data.

    Raises:
        InputError: A batch is larger than the data set.
    """
    sampler = TrainSampler(
        len(source),
        config.data.batch_size,
        grad_accum_steps=config.trainer.grad_accum_steps,
        rank=runtime.rank,
        world_size=runtime.world_size,
        seed=config.seed,
        targets=source.targets if config.data.sampler == "balanced" else None,
        repeats=config.augment.repeats,
    )
    transform = train_transform(preprocessing, _augmentation(config.augment))
    dataset = ImageDataset(source, transform, config.seed)
    return sampler, _loader(dataset, sampler, config.data, runtime)


def build_val_loader(
    source: ImageSource, preprocessing: Preprocessing, data: Data, runtime: Runtime
) -> ImageLoader:
    """Build the loader of the validation data; the processes share the samples, each seen once."""
    sampler = EvalSampler(len(source), data.batch_size, runtime.rank, runtime.world_size)
    dataset = ImageDataset(source, eval_transform(preprocessing))
    return _loader(dataset, sampler, data, runtime)


def _loader(
    dataset: ImageDataset, sampler: TrainSampler | EvalSampler, data: Data, runtime: Runtime
) -> ImageLoader:
    workers = default_num_workers() if data.num_workers is None else data.num_workers
    require_room_for_workers(workers)
    pinned = runtime.device.type == "cuda"
    return ImageLoader(
        dataset,
        sampler,
        num_workers=workers,
        pin_memory=pinned,
        timeout=data.timeout,
        max_restarts=data.max_worker_restarts,
    )


def _augmentation(augment: Augment) -> Augmentation:
    names = [field.name for field in dataclasses.fields(Augmentation)]
    return Augmentation(**{name: getattr(augment, name) for name in names})
