"""Class indices from labels that are names or numbers."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rednet.errors import InputError
from rednet.wording import class_name, count, join_names, printable

NUMBER = re.compile(r"0*(\d{1,6})(\.0+)?", re.ASCII)
"""A class index; programs that know no empty whole number write 3 as 3.0."""


def read_class_names(path: str) -> list[str]:
    """Read the names of the classes from a text file, one a line, in the order of their indices.

    Raises:
        InputError: The file cannot be read, has fewer than two names, or a name twice.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"data.classes={path} cannot be read: {reason}") from error
    names = [class_name(line.strip()) for line in text.splitlines() if line.strip()]
    if len(names) < 2:
        raise InputError(f"data.classes={path}: expected two or more names of classes, one a line")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"data.classes={path} has names twice: {join_names(repeated)}")
    return names


def index_labels(
    labels: Sequence[str], names: Sequence[str] | None, place: Callable[[int], str]
) -> tuple[list[str], np.ndarray]:
    """Return the names of the classes, and the class index of every label (N,) int64.

    Labels that are all numbers are class indices; without `names`, they must be 0, 1, 2 and so on,
    and the classes are named by them. Other labels are names, and without `names` the classes are
    in text order, as folders are.

    Args:
        labels: The labels, as text.
        names: Names of the classes, by class index, if the user gives them.
        place: Returns where a label stands, such as "row 7 of pets.csv", by its position.

    Raises:
        InputError: A label is empty, is no class, or numbers are left out; or there is only one
            class.
    """
    found = {label: position for position, label in reversed(list(enumerate(labels)))}
    for label, position in found.items():
        if not label.strip():
            raise InputError(f"{place(position)} has no label")
    matches = {label: NUMBER.fullmatch(label.strip()) for label in found}
    numbers = {label: int(match[1]) for label, match in matches.items() if match}
    if names is not None:
        index = _among(found, numbers, names, place)
    elif len(numbers) == len(found):
        index = numbers
        names = [str(number) for number in range(len(set(numbers.values())))]
        _require_no_gap(found, numbers, len(names), place)
    else:
        titles = {label: class_name(label.strip()) for label in found}
        names = sorted(set(titles.values()))
        position_of = {name: position for position, name in enumerate(names)}
        index = {label: position_of[title] for label, title in titles.items()}
    if len(names) < 2:
        raise InputError(
            f"{place(0)} and all others have the label {join_names(list(found))}: expected two or "
            "more classes"
        )
    return list(names), np.array([index[label] for label in labels], np.int64)


def _among(
    found: dict[str, int],
    numbers: dict[str, int],
    names: Sequence[str],
    place: Callable[[int], str],
) -> dict[str, int]:
    """Return the index of each label among the names that the user gives."""
    position_of = {name: position for position, name in enumerate(names)}
    index = {}
    for label, position in found.items():
        title = class_name(label.strip())
        if title in position_of:
            index[label] = position_of[title]
        elif label in numbers and numbers[label] < len(names):
            index[label] = numbers[label]
        elif label in numbers:
            raise InputError(
                f"{place(position)}: label {title} is out of range: data.classes names "
                f"{count(len(names), 'class')}, 0 to {len(names) - 1}"
            )
        else:
            raise InputError(
                f"{place(position)}: label {title} is not among the {count(len(names), 'class')} "
                f"of data.classes: {join_names(names)}"
            )
    return index


def _require_no_gap(
    found: dict[str, int], numbers: dict[str, int], size: int, place: Callable[[int], str]
) -> None:
    missing = [str(number) for number in sorted(set(range(size)) - set(numbers.values()))]
    if missing:
        label, position = max(found.items(), key=lambda item: numbers[item[0]])
        raise InputError(
            f"{place(position)}: label {printable(label)} is out of range: {size} different "
            f"numbers must be 0 to {size - 1}, and there is no {join_names(missing)}; "
            "data.classes=FILE names all classes, one a line"
        )
