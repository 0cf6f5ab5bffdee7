"""Bounds on what a file of weights may contain besides its tensors.

A few bytes can describe what takes hours to walk through or fills the memory: lists that contain
the same list twice, each of which does so again; names that are nested tuples, whose hash follows
every path; a header of a million entries. The files of real networks are far below these bounds.
"""

import argparse
from collections.abc import Iterator
from typing import Any, BinaryIO

MAX_HEADER_BYTES = 16 * 2**20
"""Size of the pickle in a zip file; that of a RedNet-152 with its state is half a megabyte."""
MAX_READS = 1_000_000
"""Reads of a pickle, one to three per instruction. A RedNet-152 with its state takes 300,000."""
MAX_DEPTH = 32
"""Levels of dicts and lists."""
MAX_ITEMS = 500_000
"""Values in dicts and lists; those of one that occurs twice count twice."""
MAX_NUMBER = 2**31
"""Size of integers as keys; among larger ones are many with the same place in a dict."""


class MeteredFile:
    """A file of pickle instructions that may be read from a limited number of times.

    Args:
        file: The open file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_READS

    def read(self, size: int = -1) -> bytes:
        """Read as a file does.

        Raises:
            ValueError: Too many reads.
        """
        self._count()
        return self._file.read(size)

    def readline(self) -> bytes:
        """Read a line as a file does.

        Raises:
            ValueError: Too many reads.
        """
        self._count()
        return self._file.readline()

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many instructions")


def is_key(value: object) -> bool:
    """Whether a value may be a key of a dict: others can take forever to hash or to compare."""
    if isinstance(value, tuple):
        return all(isinstance(part, str) or _is_small(part) for part in value)
    return value is None or isinstance(value, str) or _is_small(value)


def _is_small(value: object) -> bool:
    return isinstance(value, int) and abs(value) < MAX_NUMBER


def require_bounded(content: Any) -> None:
    """Check depth and size of nested dicts, lists and tuples, as if no two were the same object.

    Raises:
        ValueError: They are too deep or too large, or contain themselves.
    """
    sizes: dict[int, int] = {}
    open_ones: list[tuple[Any, Iterator[Any], list[int]]] = []
    path: set[int] = set()

    def enter(value: Any) -> None:
        if id(value) in path or len(path) >= MAX_DEPTH:
            raise ValueError("nested too deeply")
        path.add(id(value))
        open_ones.append((value, _children(value), [1]))

    enter([content])
    while open_ones:
        value, children, size = open_ones[-1]
        for child in children:
            if not isinstance(child, dict | list | tuple | set | argparse.Namespace):
                size[0] += 1
            elif id(child) in sizes:
                size[0] += sizes[id(child)]
            else:
                enter(child)
                break
        else:
            open_ones.pop()
            path.remove(id(value))
            sizes[id(value)] = size[0]
            if open_ones:
                open_ones[-1][2][0] += size[0]
        if size[0] > MAX_ITEMS:
            raise ValueError("too many values")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, argparse.Namespace):
        return iter(vars(value).values())
    return iter(value.values() if isinstance(value, dict) else value)
