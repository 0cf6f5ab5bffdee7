"""Build what is needed to use a network: its weights, preprocessing and class names."""

from collections.abc import Collection
from dataclasses import replace

from torch import nn

from rednet.build.model import check_forward, optimize_model, place_model
from rednet.build.preprocessing import (
    KEYS,
    build_preprocessing,
    preprocessing_of_file,
    require_channels,
)
from rednet.config import Data, Model, Trainer
from rednet.data import Preprocessing, imagenet_synsets
from rednet.errors import InputError
from rednet.inference import Augmentation, Predictor
from rednet.runtime import Runtime
from rednet.weights import (
    Checkpoint,
    count_channels,
    list_notes,
    override_network,
    read_checkpoint,
    require_network,
    restore_model,
)
from rednet.wording import count


def open_network(path: str, model: Model | None) -> Checkpoint:
    """Read a file of weights, for the network that the user names if any.

    Raises:
        InputError: The file cannot be read, or does not say which network it is for.
    """
    checkpoint = read_checkpoint(path)
    if model is not None:
        checkpoint = override_network(checkpoint, model.name, model.options)
    require_network(checkpoint)
    return checkpoint


def choose_preprocessing(
    checkpoint: Checkpoint, data: Data | Preprocessing, explicit_keys: Collection[str]
) -> tuple[Preprocessing, list[str]]:
    """Choose the preprocessing of images that belong to no data set.

    The preprocessing stored in the checkpoint takes precedence over `data`, except for
    `explicit_keys`.

    Args:
        checkpoint: The network.
        data: Values where the checkpoint has none.
        explicit_keys: Dotted keys that the user set.

    Returns:
        The preprocessing, and lines about what cannot be followed.

    Raises:
        InputError: It does not fit the network, or the user's choice of data has no effect.
    """
    known, notes = preprocessing_of_file(checkpoint)
    if "data" in explicit_keys and known.keys() >= set(KEYS):
        raise InputError(
            f"data: has no effect, {checkpoint.label} says how images are prepared; "
            "data.image_size=... and the like override that"
        )
    channels = count_channels(checkpoint)
    preprocessing = build_preprocessing(data, known, explicit_keys, in_chans=channels)
    require_channels(checkpoint, preprocessing)
    return preprocessing, notes


def restore_network(
    checkpoint: Checkpoint,
    preprocessing: Preprocessing,
    runtime: Runtime,
    trainer: Trainer | None = None,
) -> nn.Module:
    """Return a checkpoint's network in evaluation mode; a classifier is tried on a blank image.

    Args:
        checkpoint: The network.
        preprocessing: Preprocessing of its images.
        runtime: Device and precision.
        trainer: Further settings of the device, if any.

    Raises:
        InputError: The network cannot be built, or cannot process such images.
    """
    model = restore_model(replace(checkpoint, in_chans=preprocessing.in_chans))
    model = runtime.place(model) if trainer is None else place_model(model, trainer, runtime)
    if checkpoint.has_head and checkpoint.model is not None:
        classes = getattr(model, "num_classes", 0)
        check_forward(model, checkpoint.model["name"], classes, preprocessing, runtime)
    model = model.eval()
    return model if trainer is None else optimize_model(model, trainer, preprocessing, runtime)


def build_predictor(
    checkpoint: Checkpoint,
    data: Data | Preprocessing,
    explicit_keys: Collection[str],
    runtime: Runtime,
    *,
    tta: Augmentation | None = None,
    trainer: Trainer | None = None,
) -> tuple[Predictor, list[str]]:
    """Build a network with what it takes to use it.

    Args:
        checkpoint: The network.
        data: Preprocessing where the checkpoint has none.
        explicit_keys: Dotted keys that the user set.
        runtime: Device and precision.
        tta: Test-time augmentation.
        trainer: Further settings of the device, if any.

    Returns:
        The network, and what the user must know about it, one line each.

    Raises:
        InputError: The network cannot be built, or its classes are contradictory.
    """
    preprocessing, notes = choose_preprocessing(checkpoint, data, explicit_keys)
    model = restore_network(checkpoint, preprocessing, runtime, trainer)
    names, assumed = name_classes(checkpoint, getattr(model, "num_classes", 0))
    name = require_network(checkpoint)["name"]
    notes = [*list_notes(checkpoint), *notes, *assumed]
    return Predictor(model, name, names, preprocessing, runtime, tta), notes


def name_classes(checkpoint: Checkpoint, outputs: int) -> tuple[list[str], list[str]]:
    """Return the names of a network's classes, and what was assumed about them.

    A file without names is taken for ImageNet's if it has as many classes; other classes are
    numbered.

    Args:
        checkpoint: The network.
        outputs: Number of its outputs, 0 if it has no classifier.

    Raises:
        InputError: There is not one name for each output.
    """
    names = checkpoint.class_names
    if not outputs:
        return [], []
    if names is None and outputs == len(imagenet_synsets()):
        note = f"the file has no class names: its {outputs} classes are taken to be ImageNet's"
        return list(imagenet_synsets()), [note]
    if names is None:
        last = outputs - 1
        note = (
            f"the file has no class names: its {count(outputs, 'class')} are numbered 0 to {last}"
        )
        return [str(number) for number in range(outputs)], [note]
    if len(names) != outputs:
        raise InputError(
            f"{checkpoint.label}: has {count(len(names), 'class name')} but "
            f"{count(outputs, 'output')}"
        )
    return list(names), []
