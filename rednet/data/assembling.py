"""Splits of a data set whose images have labels rather than folders."""

from collections.abc import Mapping

from rednet.data.class_folders import warn_of_missing
from rednet.data.classes import classes_with_images
from rednet.data.sources import Splits
from rednet.data.split_names import TITLES, Split
from rednet.data.splitting import Selectable, split_by_class
from rednet.errors import InputError
from rednet.wording import join_names


def assemble_splits(
    sources: Mapping[Split, Selectable],
    origins: Mapping[str, str],
    *,
    val_fraction: float,
    seed: int,
    classes_are_given: bool,
    notes: tuple[str, ...] = (),
    unused: Mapping[Split, str] | None = None,
) -> Splits:
    """Return the splits of a data set, as folders of classes have them.

    Test images are also the validation images where there are no others. Training images without
    either are split, class by class.

    Args:
        sources: Images of each split, all with the same classes.
        origins: Where each split comes from.
        val_fraction: Fraction of each class's images to validate with, if they are split.
        seed: Seed of the split.
        classes_are_given: Whether there may be classes without training images.
        notes: Lines that the user should read.
        unused: Why the images of a split are not used.

    Raises:
        InputError: Validation or test images are of classes that the training images lack.
    """
    first = next(split for split in TITLES if split in sources)
    if sources.keys() == {"train"}:
        whole = sources["train"]
        train, val = split_by_class(whole, val_fraction, seed)
        both = dict.fromkeys(("train", "val"), origins["train"])
        return Splits(
            train=train, val=val, whole=whole, origins=both, notes=notes, unused=unused or {}
        )
    lines = list(notes)
    if first == "train":
        trained = classes_with_images(sources["train"])
        for split in (split for split in TITLES if split in sources and split != "train"):
            found = classes_with_images(sources[split])
            if not classes_are_given and (unknown := sorted(set(found) - set(trained))):
                raise InputError(
                    f"{origins[split]} has {TITLES[split]} images of classes that the training "
                    f"images lack: {join_names(unknown)}"
                )
            lines += warn_of_missing(trained, set(found), TITLES[split])
    val_split: Split = "val" if "val" in sources else "test"
    return Splits(
        train=sources.get("train"),
        val=sources[val_split],
        test=sources.get("test"),
        origins={**origins, "val": origins[val_split]},
        notes=tuple(lines),
        unused=unused or {},
    )
