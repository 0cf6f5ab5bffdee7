"""Choose the images that an evaluation reads.

From a data set with separate training, validation and test images, the split that `data.split`
names, by default the validation images. From a folder of classes without such splits, the part
that training held out if it is the folder of the training, and otherwise all images.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from rednet.build.opening import open_splits, place_of
from rednet.build.training_data import Match, TrainingData, read_training_data
from rednet.config import Data, meant_keys
from rednet.config.data_effects import DIVISIBLE
from rednet.data import ImageSource, Splits
from rednet.data.not_read import NotRead
from rednet.data.split_names import TITLES, Split
from rednet.errors import InputError
from rednet.weights import Checkpoint
from rednet.wording import count, printable

SPLITTING_KEYS = ("seed", "data.val_fraction")
"""Keys that say how a folder is split; a user who sets one asks for a part of the folder."""

DOUBTS = {
    Match.NAMESAKE: "the files have the names of the training images, but other contents",
    Match.UNKNOWN: "the checkpoint does not say which images it was trained on",
}
ALL_ARE_EVALUATED = (
    "all are evaluated; if the training split this folder, data.split=val evaluates the part that "
    "it held out"
)


@dataclass(frozen=True)
class ChosenImages:
    """The images of an evaluation.

    Attributes:
        source: The images.
        total: Number of images that there are in the folder or file.
        origin: The folder or file, and which part of it the images are.
        notes: Lines that the user should read.
        data: Configuration of the data, with the fraction by which a folder was split.
        not_read: What was passed over.
        split: The split that the images are; None for all of a folder without splits.
        split_seed: Seed by which a folder without splits was split; None if nothing was.
    """

    source: ImageSource
    total: int
    origin: str
    notes: tuple[str, ...]
    data: Data
    not_read: NotRead
    split: Split | None = None
    split_seed: int | None = None

    def with_source(self, source: ImageSource, note: str | None) -> "ChosenImages":
        """Return the choice with other labels or fewer images, and a further note."""
        return replace(self, source=source, notes=(*self.notes, *([note] if note else [])))

    def describe(self) -> str:
        """Return how many images of which folder are evaluated."""
        return f"{len(self.source)} of {count(self.total, 'image')} of {printable(self.origin)}"


def choose_images(
    data: Data, seed: int, checkpoint: Checkpoint, explicit_keys: Collection[str]
) -> ChosenImages:
    """Open the data and choose the images that an evaluation reads.

    Args:
        data: Configuration of the data.
        seed: Seed of a split, if the checkpoint does not say how its folder was split.
        checkpoint: The checkpoint to evaluate.
        explicit_keys: Dotted keys that the user set; they take precedence over the checkpoint.

    Raises:
        InputError: The data is missing, or does not have the images that the user asks for.
    """
    training = read_training_data(checkpoint)
    typed = [key for key in SPLITTING_KEYS if key in explicit_keys]
    if training and "data.val_fraction" not in typed:
        data = replace(data, val_fraction=training.val_fraction)
    if training and "seed" not in typed:
        seed = training.seed
    splits = open_splits(data, seed, split=data.split or "val")
    meant = [key for key in SPLITTING_KEYS if key in meant_keys(explicit_keys)]
    if meant and data.name in DIVISIBLE and splits.whole is None:
        raise InputError(
            f"{meant[0]}: nothing is split, since {place_of(data)} has separate splits"
        )
    match = training.compare(splits, data, seed) if training and splits.whole else Match.OTHER
    split = data.split or _default_split(splits, match, is_split_typed=bool(meant))
    source = _take(splits, split, data)
    return ChosenImages(
        source,
        total=len(splits.whole or source),
        origin=_describe_origin(splits, split, match, data, seed),
        notes=(*splits.notes, *_doubts(training, match, split, source)),
        data=data,
        not_read=splits.not_read,
        split=split,
        split_seed=seed if splits.whole is not None and split is not None else None,
    )


def _default_split(splits: Splits, match: Match, *, is_split_typed: bool) -> Split | None:
    """Return the split to evaluate where the user names none; None stands for all of a folder."""
    return "val" if splits.whole is None or match is Match.SAME or is_split_typed else None


def _take(splits: Splits, split: Split | None, data: Data) -> ImageSource:
    source: ImageSource | None = getattr(splits, split or "whole")
    if source is None:
        assert split is not None
        reason = splits.unused.get(split, f"{place_of(data)} has no {TITLES[split]} images")
        raise InputError(f"data.split={split}: {reason}")
    return source


def _describe_origin(
    splits: Splits, split: Split | None, match: Match, data: Data, seed: int
) -> str:
    """Return the folder or file of the images, and how a part of it was chosen."""
    origin = data.name if place_of(data) is None else splits.origins[split or "train"]
    if split is None:
        return origin
    if splits.whole is None:
        other = "val" if split == "train" else "train"
        is_shared = splits.origins.get(other) == splits.origins[split]
        return f"{origin} ({TITLES[split]} images)" if is_shared else origin
    how = "as in training"
    if match is not Match.SAME:
        how = f"with seed={seed} and data.val_fraction={data.val_fraction:g}"
    return f"{origin} ({TITLES[split]} part, split {how})"


def _doubts(
    training: TrainingData | None, match: Match, split: Split | None, source: ImageSource
) -> Iterator[str]:
    """Yield a warning if there are training images among the images, or if there may be some."""
    if training is None or split == "train":
        return
    doubt = DOUBTS.get(match) if split is None else None
    if doubt := doubt or training.describe_overlap(source):
        yield f"warning: {doubt}" + (f"; {ALL_ARE_EVALUATED}" if split is None else "")
