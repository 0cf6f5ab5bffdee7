"""The configured data: its two halves, their preparation, their batches."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from torch.utils.data import DataLoader

from rednet.config import Augment, Config, Data
from rednet.data import (
    Augmentation,
    EvalSampler,
    ImageDataset,
    ImageSource,
    Preprocessing,
    Splits,
    TrainSampler,
    balanced_subset,
    default_num_workers,
    eval_transform,
    make_loader,
    open_fashion_mnist,
    open_image_folder,
    open_imagenet,
    train_transform,
)
from rednet.errors import InputError
from rednet.runtime import Runtime

PREPROCESSING_KEYS = tuple(field.name for field in dataclasses.fields(Preprocessing))


def build_splits(data: Data, seed: int, *, train: bool = True) -> Splits:
    """The two halves of the data that the configuration names.

    Args:
        data: Which data, and how many of each half.
        seed: Of the split where there is no validation folder.
        train: Whether the training half is needed.

    Raises:
        InputError: The data is not there or not what it should be.
    """
    splits = _open(data, seed, train)
    if train and splits.train is None:
        raise InputError(
            f"data.val_fraction={data.val_fraction:g} of {data.root} leaves nothing to train on"
        )
    return Splits(
        train=_subset(splits.train, data.train_samples, "data.train_samples") if train else None,
        val=_subset(splits.val, data.val_samples, "data.val_samples"),
    )


def _open(data: Data, seed: int, train: bool) -> Splits:
    if data.name == "fashion_mnist":
        return open_fashion_mnist(data.root)
    if data.root is None:
        variable = " or set $IMAGENET_ROOT" if data.name == "imagenet" else ""
        raise InputError(
            f"data={data.name} needs a folder: give data.root=FOLDER{variable}; "
            "data=fashion_mnist comes with the package"
        )
    if data.name == "imagenet":
        return open_imagenet(data.root, train=train)
    return open_image_folder(data.root, val_fraction=data.val_fraction, seed=seed)


def _subset(source: ImageSource | None, samples: int | None, key: str) -> ImageSource | None:
    if source is None or samples is None:
        return source
    if samples > len(source):
        raise InputError(f"{key}={samples}: there are only {len(source)} images")
    return balanced_subset(source, samples)


def build_preprocessing(
    data: Data, known: Mapping[str, Any] | None = None, explicit_keys: Collection[str] = ()
) -> Preprocessing:
    """How evaluation prepares pictures.

    Args:
        data: The configuration's say.
        known: A checkpoint's, which goes before it,
        explicit_keys: except for the keys that the user typed.
    """
    values = {name: getattr(data, name) for name in PREPROCESSING_KEYS}
    for name in PREPROCESSING_KEYS:
        if known and f"data.{name}" not in explicit_keys:
            values[name] = known[name]
    return Preprocessing(**values)


def build_train_data(
    source: ImageSource, preprocessing: Preprocessing, config: Config, runtime: Runtime
) -> tuple[TrainSampler, DataLoader[Any]]:
    """Sampler of the training half, and its batches.

    Raises:
        InputError: A batch is larger than the data.
    """
    sampler = TrainSampler(
        len(source),
        config.data.batch_size,
        grad_accum_steps=config.trainer.grad_accum_steps,
        rank=runtime.rank,
        world_size=runtime.world_size,
        seed=config.seed,
    )
    transform = train_transform(preprocessing, _augmentation(config.augment))
    dataset = ImageDataset(source, transform, config.seed)
    return sampler, _loader(dataset, sampler, config.data, runtime)


def build_val_loader(
    source: ImageSource, preprocessing: Preprocessing, data: Data, runtime: Runtime
) -> DataLoader[Any]:
    """Batches of the validation half, each sample once over all processes."""
    sampler = EvalSampler(len(source), data.batch_size, runtime.rank, runtime.world_size)
    dataset = ImageDataset(source, eval_transform(preprocessing))
    return _loader(dataset, sampler, data, runtime)


def _loader(
    dataset: ImageDataset, sampler: TrainSampler | EvalSampler, data: Data, runtime: Runtime
) -> DataLoader[Any]:
    workers = default_num_workers() if data.num_workers is None else data.num_workers
    pinned = runtime.device.type == "cuda"
    return make_loader(dataset, sampler, num_workers=workers, pin_memory=pinned)


def _augmentation(augment: Augment) -> Augmentation:
    names = [field.name for field in dataclasses.fields(Augmentation)]
    return Augmentation(**{name: getattr(augment, name) for name in names})
