"""What counts as a right answer on a data set: a part of ImageNet's classes, or several labels."""

import numpy as np
import torch

from rednet.counting import ALL, Counting
from rednet.data import ImageSource, RelabelledSource, imagenet_synsets
from rednet.data.imagenet_sets import EVALUATION_SETS, REAL, counted_synsets, real_labels
from rednet.errors import InputError
from rednet.wording import count, join_names


def build_counting(source: ImageSource, data_name: str) -> tuple[ImageSource, Counting, list[str]]:
    """Return what counts in an evaluation.

    Args:
        source: The images, whose classes are the network's outputs.
        data_name: The configuration's `data.name`.

    Returns:
        The images, with only those classes that count; what counts; and lines about it.

    Raises:
        InputError: The network lacks classes that count.
    """
    synsets = counted_synsets(data_name)
    if synsets is not None:
        outputs = _positions(source, synsets, data_name)
        total = count(len(source.class_names), "output")
        note = f"only the {len(synsets)} classes of {_title(data_name)} compete, of {total}"
        names = [source.class_names[index] for index in outputs]
        return RelabelledSource(source, names), Counting(outputs=torch.tensor(outputs)), [note]
    if data_name == REAL:
        positions = np.array([*_positions(source, imagenet_synsets(), data_name), -1], np.int64)
        labels = torch.from_numpy(positions[real_labels(source)])
        note = "a prediction is right if it is any of an image's ReaL labels"
        return source, Counting(labels=labels), [note]
    return source, ALL, []


def _positions(source: ImageSource, synsets: tuple[str, ...], data_name: str) -> list[int]:
    """Return the index of the output of each synset."""
    index = {name: position for position, name in enumerate(source.class_names)}
    if missing := [synset for synset in synsets if synset not in index]:
        raise InputError(
            f"the network lacks {len(missing)} of the {len(synsets)} classes of "
            f"{_title(data_name)}: {join_names(missing)}"
        )
    return [index[synset] for synset in synsets]


def _title(data_name: str) -> str:
    return EVALUATION_SETS[data_name].title
