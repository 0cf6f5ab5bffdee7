"""What is known about one image once a network has seen it."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rednet.data import english_names

NOT_FINITE = "the logits are not finite"


class Row(NamedTuple):
    """The predictions for one image, or the reason why there are none.

    Attributes:
        position: Position of the image among all images.
        path: Path of the image.
        classes: The most probable classes, the first one first; empty without a classifier.
        probabilities: Their probabilities.
        target: True class, where it is known.
        reason: Why there are no predictions: the file cannot be decoded, or `NOT_FINITE`.
        features: Input of the classifier (features,), if requested.
    """

    position: int
    path: str
    classes: Sequence[int] = ()
    probabilities: Sequence[float] = ()
    target: int | None = None
    reason: str = ""
    features: np.ndarray | None = None


def top_classes(logits: Tensor, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return the most probable classes of each image and their probabilities.

    Args:
        logits: Logits (n, classes).
        k: Number of classes, fewer if there are fewer.
    """
    top = logits.topk(min(k, logits.shape[1]), dim=1).indices
    probabilities = logits.float().softmax(1).gather(1, top)
    return top.tolist(), probabilities.tolist()


class ClassLabels:
    """The names of the classes, in files and in front of people.

    Attributes:
        names: Name of each class, by class index.
        english: English name of each class that is one of ImageNet's synsets, None for others.
        shown: Name for the screen: the English one, with the synset where two classes share it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.english = english_names(self.names)
        labels = [label or name for label, name in zip(self.english, self.names, strict=True)]
        times = Counter(labels)
        self.shown = [
            f"{label} ({name})" if times[label] > 1 and label != name else label
            for label, name in zip(labels, self.names, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def have_english(self) -> bool:
        """Whether any class has an English name besides its own."""
        return any(self.english)
