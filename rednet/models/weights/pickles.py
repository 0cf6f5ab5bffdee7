"""Pickles of numbers and arrays, read without calling anything that they name.

A pickle is a program that calls functions by their names. The few of numpy's that files of weights
name get stand-ins from here, which check and note what they are given; every other name is refused.
"""

import argparse
import pickle
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

PLAIN_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
NUMPY_HOMES = ("numpy.core.multiarray", "numpy._core.multiarray")


class UnsafeError(pickle.UnpicklingError):
    """A pickle holds something that is neither plain nor an array; its message names it."""


class DType:
    """Stands for `numpy.dtype`: a plain number in either byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if code not in PLAIN_NUMBERS:
            raise UnsafeError(f"numpy's type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, byte_order, subarray, names, fields, *_ = state
        if byte_order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None,) * 3:
            raise UnsafeError("a composed type of numpy's")
        self.dtype = self.dtype.newbyteorder(byte_order)

    def read(self, data: bytes) -> np.ndarray:
        """The numbers in `data`, in this machine's byte order."""
        return np.frombuffer(data, self.dtype).astype(self.dtype.newbyteorder("="))


class Array:
    """Stands for what numpy's `_reconstruct` makes: an array that gets its values afterwards."""

    def __init__(self, kind: str, shape: tuple[int, ...], code: bytes) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, DType) or not isinstance(data, bytes):
            raise UnsafeError("an array of objects")
        self.values = dtype.read(data).reshape(shape, order="F" if is_fortran else "C")


def scalar(dtype: DType, data: bytes) -> Any:
    """Stands for numpy's `scalar`: the one plain number in `data`."""
    return dtype.read(data).item()


class ArrayUnpickler(pickle._Unpickler):
    """Reads plain values and arrays, the latter as `Array`.

    It is Python's slower twin of the unpickler in C, which a damaged index of its memo makes
    allocate gigabytes. The functions that it hands out are methods of its own: a pickle may set
    attributes of what it holds, and those of a method cannot be set.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._allowed: dict[str, Any] = {
            "collections.OrderedDict": dict,
            "builtins.tuple": tuple,
            "__builtin__.tuple": tuple,
            "_codecs.encode": self._encode,
            "numpy.ndarray": "ndarray",
            "numpy.dtype": DType,
        }
        for home in NUMPY_HOMES:
            self._allowed |= {f"{home}._reconstruct": Array, f"{home}.scalar": self._scalar}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; UnsafeError where there is none."""
        full_name = f"{module}.{name}"
        if full_name not in self._allowed:
            raise UnsafeError(full_name)
        return self._allowed[full_name]

    def _encode(self, text: str, encoding: str) -> bytes:
        """Protocol 2 keeps bytes as text."""
        if encoding != "latin1":
            raise UnsafeError(f"text in {encoding}")
        return text.encode("latin1")

    def _scalar(self, dtype: DType, data: bytes) -> Any:
        return scalar(dtype, data)


def torch_globals() -> Iterator[tuple[Any, str]]:
    """What torch's own safe unpickler may find besides what it knows, each with its name.

    Training programs note numpy's numbers in the meta data of a checkpoint, and timm the arguments
    of its command line.
    """
    yield argparse.Namespace, "argparse.Namespace"
    yield DType, "numpy.dtype"
    for home in NUMPY_HOMES:
        yield scalar, f"{home}.scalar"
