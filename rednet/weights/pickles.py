"""Read pickles of numbers and arrays without calling anything that they name.

A pickle is a program that calls functions by name. The few numpy functions that files of weights
name are replaced by stand-ins from this module, which check their arguments and store them. Every
other name is refused.
"""

import argparse
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, ClassVar

import numpy as np

from rednet.weights.bounds import MeteredFile, is_key

PLAIN_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
NUMPY_HOMES = ("numpy.core.multiarray", "numpy._core.multiarray")
OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD),
)


class UnsafeError(pickle.UnpicklingError):
    """A pickle contains something other than plain values and arrays; the message names it."""


class DType:
    """Stand-in for `numpy.dtype`: a number type in either byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if code not in PLAIN_NUMBERS:
            raise UnsafeError(f"the numpy type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, byte_order, subarray, names, fields, *_ = state
        if byte_order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None,) * 3:
            raise UnsafeError("a structured numpy type")
        self.dtype = self.dtype.newbyteorder(byte_order)

    def read(self, data: bytes) -> np.ndarray:
        """Return the numbers in `data` in this machine's byte order."""
        return np.frombuffer(data, self.dtype).astype(self.dtype.newbyteorder("="))


class Array:
    """Stand-in for numpy's `_reconstruct`, which makes an array that is filled afterwards."""

    def __init__(self, kind: str, shape: tuple[int, ...], code: bytes) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, DType) or not isinstance(data, bytes):
            raise UnsafeError("an array of objects")
        self.values = dtype.read(data).reshape(shape, order="F" if is_fortran else "C")


def scalar(dtype: DType, data: bytes) -> Any:
    """Stand-in for numpy's `scalar`: return the one number in `data`."""
    return dtype.read(data).item()


class ArrayUnpickler(pickle._Unpickler):
    """Unpickler for plain values and arrays, which become `Array`.

    It extends the slower unpickler in Python, since a damaged memo index makes the one in C
    allocate gigabytes. It knows only the opcodes that files of weights need: none that creates an
    object without its constructor, reserves memory for bytes that may not follow, or loads
    persistent objects.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES
    }

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(MeteredFile(file))
        self._allowed: dict[str, Any] = {
            "collections.OrderedDict": _empty_dict,
            "builtins.tuple": _same_tuple,
            "__builtin__.tuple": _same_tuple,
            "_codecs.encode": encode_latin1,
            "numpy.ndarray": "ndarray",
            "numpy.dtype": DType,
        }
        for home in NUMPY_HOMES:
            self._allowed |= {f"{home}._reconstruct": Array, f"{home}.scalar": scalar}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; raise UnsafeError if there is none."""
        full_name = f"{module}.{name}"
        if full_name not in self._allowed:
            raise UnsafeError(full_name)
        return self._allowed[full_name]

    def _build(self) -> None:
        """Set the state of a stand-in, which checks it; refuse all other objects."""
        state, instance = self.stack.pop(), self.stack[-1]
        if not isinstance(instance, DType | Array):
            raise UnsafeError("attributes of an object")
        instance.__setstate__(state)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key], [value])

    def _set_items(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._fill(items[::2], items[1::2])

    def _fill(self, keys: Sequence[Any], values: Sequence[Any]) -> None:
        """Fill a dictionary; other keys are refused, as hashing nested tuples can take forever."""
        target = self.stack[-1]
        if type(target) is not dict or not all(map(is_key, keys)):
            raise UnsafeError("a dictionary with keys other than text and small numbers")
        target.update(zip(keys, values, strict=True))

    dispatch |= {
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }


def _empty_dict() -> dict[Any, Any]:
    """Stand-in for `OrderedDict`, which is filled afterwards."""
    return {}


def _same_tuple(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Stand-in for `tuple`, which Paddle calls with a tuple: a parameter's name and array."""
    if not isinstance(items, tuple):
        raise UnsafeError("a tuple made of another type")
    return items


def encode_latin1(text: str, encoding: str) -> bytes:
    """Stand-in for `_codecs.encode`: protocol 2 stores bytes as latin-1 text."""
    if encoding != "latin1":
        raise UnsafeError(f"text encoded as {encoding}")
    return text.encode("latin1")


def torch_globals() -> Iterator[tuple[Any, str]]:
    """Yield what torch's safe unpickler shall allow in addition, each with its name.

    Training programs store numpy numbers in a checkpoint's metadata, and timm its command-line
    arguments.
    """
    yield argparse.Namespace, "argparse.Namespace"
    yield DType, "numpy.dtype"
    for home in NUMPY_HOMES:
        yield scalar, f"{home}.scalar"
