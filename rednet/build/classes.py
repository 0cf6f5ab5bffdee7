"""Match the classes of the data with the outputs of a checkpoint's network."""

from collections import Counter
from collections.abc import Sequence

from rednet.build.data import has_numbered_classes
from rednet.config import Data
from rednet.data import (
    CLASS_ORDERS,
    ImageSource,
    RelabelledSource,
    classes_with_images,
    imagenet_synsets,
    order_classes,
)
from rednet.data.class_folders import class_name
from rednet.errors import InputError
from rednet.weights import Checkpoint, num_classes_and_in_chans
from rednet.wording import count, join_names


def match_classes(
    source: ImageSource, checkpoint: Checkpoint, data: Data
) -> tuple[ImageSource, str | None]:
    """Give each class of the data the index of its output.

    Classes are matched by name. The data may lack some of the checkpoint's classes. The outputs of
    a checkpoint without names are taken to be in the order of the data's classes.

    Args:
        source: Images of the data.
        checkpoint: The checkpoint.
        data: Configuration of the data.

    Returns:
        The images, and a line about the classes if the user should know more than their number.

    Raises:
        InputError: The data has classes that the checkpoint lacks, or their order is unknown.
    """
    if checkpoint.class_names is not None:
        # Files from before names were normalised hold them as the file system gave them.
        names = [class_name(name) for name in checkpoint.class_names]
    elif _are_synsets(source, checkpoint):
        names = list(imagenet_synsets())
    else:
        return _in_order(source, checkpoint, data)
    if data.class_order is not None:
        raise InputError(
            f"data.class_order: has no effect, the outputs of {checkpoint.label} have names"
        )
    if names == source.class_names:
        return source, None
    found = classes_with_images(source)
    _require_one_output_each(found, names, checkpoint)
    return RelabelledSource(source, names), _describe(found, names)


def _require_one_output_each(
    found: Sequence[str], names: Sequence[str], checkpoint: Checkpoint
) -> None:
    times = Counter(names)
    if unknown := [name for name in found if name not in times]:
        noun = "classes" if unknown[1:] else "class"
        raise InputError(
            f"{checkpoint.label} has no {noun} {join_names(unknown)}; "
            f"it has {count(len(names), 'class')}: {join_names(names)}"
        )
    if repeated := [name for name in found if times[name] > 1]:
        raise InputError(f"{checkpoint.label} has more than one class {join_names(repeated)}")


def _describe(found: Sequence[str], names: Sequence[str]) -> str | None:
    if len(found) == len(names):
        return None
    return (
        f"the data has {len(found)} of the checkpoint's {count(len(names), 'class')}: "
        f"{join_names(found)}"
    )


def _are_synsets(source: ImageSource, checkpoint: Checkpoint) -> bool:
    """Whether the outputs are ImageNet's classes and the data has some of these, by their names."""
    synsets = imagenet_synsets()
    if _num_outputs(checkpoint) != len(synsets):
        return False
    return set(classes_with_images(source)) <= set(synsets)


def _in_order(
    source: ImageSource, checkpoint: Checkpoint, data: Data
) -> tuple[ImageSource, str | None]:
    """Number the folders in the order that the user names, which can matter."""
    names, outputs = source.class_names, _num_outputs(checkpoint)
    is_for_others = outputs is not None and outputs != len(names)
    # Other classes are refused by the loader.
    if is_for_others or has_numbered_classes(source, data):
        return source, None
    text, natural = (order_classes(names, order) for order in CLASS_ORDERS)
    if data.class_order is None and text != natural:
        index = next(index for index, name in enumerate(text) if name != natural[index])
        raise InputError(
            f"{checkpoint.label} has no class names, and the order of its outputs is unknown: give "
            f"data.class_order=text if output {index} is {text[index]} (torchvision's order), "
            f"data.class_order=natural if it is {natural[index]} (timm's)"
        )
    order = data.class_order or "text"
    noun = "folders" if data.name == "image_folder" else "labels"
    line = (
        f"the checkpoint has no class names: its outputs are taken to be the {noun} in {order} "
        "order"
    )
    return RelabelledSource(source, order_classes(names, order)), line


def _num_outputs(checkpoint: Checkpoint) -> int | None:
    if checkpoint.model is None:
        return checkpoint.num_classes
    return num_classes_and_in_chans(checkpoint).get("num_classes")
