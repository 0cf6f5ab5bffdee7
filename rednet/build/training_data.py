"""What a checkpoint says about the data that it was trained on."""

import os
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rednet.config import Data
from rednet.data import ImageSource, Splits, count_sampled, fingerprint
from rednet.errors import InputError
from rednet.weights import OURS, Checkpoint, read_run_config


class Match(Enum):
    """How a folder that was split compares with the data of a training."""

    SAME = "the same images"
    NAMESAKE = "the same names, but other images"
    OTHER = "other images, or some were added or removed since"
    UNKNOWN = "the checkpoint does not say which images it was trained on"


@dataclass(frozen=True)
class TrainingData:
    """The data of the run that wrote a checkpoint.

    Attributes:
        seed: Seed of the split, if a folder was split.
        val_fraction: Fraction that was held out, if a folder was split.
        root: Folder of classes of the run, None if its data were of another kind.
        splits: Description of both splits by `rednet.data.describe_splits`; None in a file written
            before there were fingerprints.
    """

    seed: int
    val_fraction: float
    root: str | None
    splits: dict[str, Any] | None

    def compare(self, splits: Splits, data: Data, seed: int) -> Match:
        """Compare the two parts of a folder with the splits of the training.

        A file without fingerprints knows only the path of its folder, and how it was split.

        Args:
            splits: The folder and its parts.
            data: Configuration by which the folder was opened.
            seed: Seed of its split.
        """
        if self.splits is None:
            return self._compare_paths(data, seed)
        if not (self._is_split("train", splits.train) and self._is_split("val", splits.val)):
            return Match.OTHER
        assert splits.train is not None
        # A file or two may have been repaired since.
        is_same = 2 * count_sampled(splits.train, self._sample) >= len(self._sample)
        return Match.SAME if is_same else Match.NAMESAKE

    def _compare_paths(self, data: Data, seed: int) -> Match:
        if self.root is None or data.root is None:
            return Match.OTHER
        is_same_folder = os.path.realpath(self.root) == os.path.realpath(data.root)
        is_same_split = (self.seed, self.val_fraction) == (seed, data.val_fraction)
        return Match.SAME if is_same_folder and is_same_split else Match.UNKNOWN

    def _is_split(self, name: str, source: ImageSource | None) -> bool:
        split = (self.splits or {})[name]
        if split is None or source is None:
            return False
        return len(source) == split["samples"] and fingerprint(source) == split["fingerprint"]

    @property
    def _sample(self) -> dict[str, str]:
        return (self.splits or {}).get("sample", {})

    def describe_overlap(self, source: ImageSource) -> str | None:
        """Return how many training images were found in a source, None if there was none."""
        found = count_sampled(source, self._sample)
        if not found:
            return None
        return f"training images are among them ({found} of {len(self._sample)} looked for)"


def read_training_data(checkpoint: Checkpoint) -> TrainingData | None:
    """Return what a checkpoint says about its data; None for a file of another program.

    Raises:
        InputError: Its configuration is damaged.
    """
    content = checkpoint.content
    if checkpoint.kind not in OURS or content.get("config") is None:
        return None
    try:
        config = read_run_config(content["config"])
        seed, data = config["seed"], config["data"]
        val_fraction, root = data["val_fraction"], data.get("root")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{checkpoint.label}: its configuration is damaged") from error
    is_seed = isinstance(seed, int) and seed >= 0
    if not is_seed or not isinstance(val_fraction, int | float) or not 0 < val_fraction <= 1:
        values = f"seed={seed!r} or data.val_fraction={val_fraction!r}"
        raise InputError(f"{checkpoint.label}: its configuration has an invalid {values}")
    is_folder = data.get("name") == "image_folder" and isinstance(root, str)
    root = root if is_folder else None
    return TrainingData(seed, val_fraction, root, content.get("data"))
