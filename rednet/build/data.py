"""Build data sets, preprocessing and loaders from the configuration."""

import dataclasses
from functools import cache

from rednet.build.opening import open_splits, place_of
from rednet.config import Augment, Config, Data
from rednet.config.data_effects import ORDERABLE
from rednet.data import (
    Augmentation,
    EvalSampler,
    ImageDataset,
    ImageLoader,
    ImageSource,
    Preprocessing,
    RelabelledSource,
    Splits,
    TrainSampler,
    balanced_subset,
    default_num_workers,
    eval_transform,
    order_classes,
    train_transform,
)
from rednet.data.lazy_reading import PartDecoder
from rednet.data.limits import require_room_for_workers
from rednet.decoding import decode_jpeg, unavailable_reason
from rednet.errors import InputError
from rednet.program import say
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


def _in_class_order(source: ImageSource, data: Data) -> ImageSource:
    is_idle = data.name not in ORDERABLE or data.classes is not None
    if data.class_order is None or is_idle:
        return source
    if has_numbered_classes(source, data):
        raise InputError("data.class_order: has no effect, the labels are numbers")
    return RelabelledSource(source, order_classes(source.class_names, data.class_order))


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
    decode = _part_decoder(preprocessing, runtime)
    transform = train_transform(preprocessing, _augmentation(config.augment), decode)
    dataset = ImageDataset(source, transform, config.seed)
    return sampler, _loader(dataset, sampler, config.data, runtime)


def build_val_loader(
    source: ImageSource, preprocessing: Preprocessing, data: Data, runtime: Runtime
) -> ImageLoader:
    """Build the loader of the validation data; the processes share the samples, each seen once."""
    sampler = EvalSampler(len(source), data.batch_size, runtime.rank, runtime.world_size)
    decode = _part_decoder(preprocessing, runtime)
    dataset = ImageDataset(source, eval_transform(preprocessing, decode))
    return _loader(dataset, sampler, data, runtime)


def _part_decoder(preprocessing: Preprocessing, runtime: Runtime) -> PartDecoder | None:
    """Return the decoder of parts of JPEG files, compiled before there are workers."""
    if preprocessing.in_chans != 3:
        return None
    reason = unavailable_reason()
    if reason is not None and runtime.is_primary:
        _say_whole(reason)
    return decode_jpeg if reason is None else None


@cache
def _say_whole(reason: str) -> None:
    first_line = reason.splitlines()[0]
    say(f"note: JPEG files are decoded whole, with the same pixels but slower: {first_line}")


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
