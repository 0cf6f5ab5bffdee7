"""Rehearse a pickle of torch before `torch.load` reads it.

`torch.load` calls no functions but those on its list. Some of these reserve as much memory as they
are told to, and hashing a key that is a nested tuple can take forever. So the instructions are
first run with stand-ins for all that they name: a call with other arguments than `torch.save` has
written is refused.
"""

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import torch

from rednet.weights.bounds import MeteredFile, is_key
from rednet.weights.pickles import NUMPY_HOMES, DType, UnsafeError, encode_latin1, scalar

OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BINUNICODE, pickle.SHORT_BINSTRING),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.EMPTY_SET),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID),
)
"""Those instructions of `torch.load` that this module does not replace."""


@dataclass(frozen=True)
class Name:
    """A name that a pickle mentions; `torch.load` decides whether it may."""

    full: str

    def __call__(self, *args: Any) -> Any:
        """Refuse the call."""
        raise UnsafeError(self.full)


@dataclass(frozen=True)
class Call:
    """A function that may be called, with arguments that `check` accepts.

    Attributes:
        full: Its name.
        check: Returns a stand-in for the result, or raises.
    """

    full: str
    check: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """Return the stand-in for the result."""
        return self.check(*args)


@dataclass(frozen=True)
class Storage:
    """Memory of tensors, with its size in bytes and the bytes of an element."""

    num_bytes: int
    item_bytes: int


class Leaf:
    """Stand-in for a tensor, or for another value without parts."""


class Object:
    """Stand-in for an object of attributes."""


class Rehearsal(pickle._Unpickler):
    """Runs the instructions of a pickle of torch without calling what they name.

    Attributes:
        storages: Sizes in bytes of the storages that it mentions, by key.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES
    }

    def __init__(self, file: BinaryIO | MeteredFile) -> None:
        super().__init__(file, encoding="latin1")
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a name."""
        full = f"{module}.{name}"
        full = full.replace("__builtin__.", "builtins.", 1)
        return Call(full, CALLS[full]) if full in CALLS else Name(full)

    def persistent_load(self, pid: Any) -> Storage:
        """Return a stand-in for a storage."""
        _, kind, key, _, numel, *_ = pid
        name = kind.full.rpartition(".")[2] if isinstance(kind, Name) else ""
        item_bytes = ITEM_BYTES.get(name)
        if item_bytes is None:
            raise UnsafeError(f"a storage of type {name}")
        found = Storage(_count(numel) * item_bytes, item_bytes)
        self.storages[str(key)] = max(found.num_bytes, self.storages.get(str(key), 0))
        return found

    def _new_object(self) -> None:
        args, name = self.stack.pop(), self.stack.pop()
        if name != Name("argparse.Namespace") or args:
            raise UnsafeError(name.full if isinstance(name, Name | Call) else "an object")
        self.stack.append(Object())

    def _build(self) -> None:
        """Set attributes: those of an ordered dict, a namespace, or a type of numpy."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, DType):
            target.__setstate__(state)
        elif type(target) not in (dict, Object) or not _has_keys(state):
            raise UnsafeError("attributes of an object")

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill({key: value} if is_key(key) else None)

    def _set_items(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        keys = items[::2]
        self._fill(dict(zip(keys, items[1::2], strict=True)) if all(map(is_key, keys)) else None)

    def _fill(self, items: dict[Any, Any] | None) -> None:
        if items is None or type(self.stack[-1]) is not dict:
            raise UnsafeError("a dictionary with keys other than text and small numbers")
        self.stack[-1].update(items)

    dispatch |= {
        pickle.NEWOBJ[0]: _new_object,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }


def rehearse(file: BinaryIO, num_pickles: int, max_bytes: int) -> None:
    """Run the pickles at the beginning of a file with stand-ins.

    Args:
        file: The open file.
        num_pickles: Number of pickles, one after the other.
        max_bytes: Size that the storages may have together.

    Raises:
        UnsafeError: Something other than `torch.save` has written it.
        Exception: It is damaged.
    """
    metered = MeteredFile(file)
    for _ in range(num_pickles):
        rehearsal = Rehearsal(metered)
        rehearsal.load()
        if sum(rehearsal.storages.values()) > max_bytes:
            raise ValueError("storages larger than the file")


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**62:
        raise ValueError("not a size")
    return value


def _has_keys(state: Any) -> bool:
    return isinstance(state, dict) and all(isinstance(key, str) for key in state)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """Python 2 wrote the pairs as an argument."""
    if isinstance(pairs, dict):
        return dict(pairs)
    if not all(is_key(key) for key, _ in pairs):
        raise UnsafeError("a dictionary with keys other than text and small numbers")
    return dict(pairs)


def _set(items: Any = ()) -> Leaf:
    if not isinstance(items, list | tuple) or not all(map(is_key, items)):
        raise UnsafeError("a set of values other than text and small numbers")
    return Leaf()


def _bytearray(content: Any = b"", encoding: Any = "latin-1") -> Leaf:
    if not isinstance(content, bytes | str) or encoding not in ("latin-1", "latin1"):
        raise UnsafeError("builtins.bytearray")  # of a number it would be that many bytes
    return Leaf()


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Leaf:
    """Check that a tensor lies inside its storage, which would otherwise grow."""
    return _typed_tensor(storage, offset, size, stride, None, None, None)


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Leaf:
    if not isinstance(storage, Storage) or len(size) != len(stride):
        raise ValueError("not a tensor")
    item_bytes = storage.item_bytes
    if isinstance(dtype, Name):
        item_bytes = DTYPE_BYTES[dtype.full]
    steps = [(_count(n) - 1) * _count(step) for n, step in zip(size, stride, strict=True)]
    end = _count(offset) + sum(steps) + 1
    if math.prod(size) and end * item_bytes > storage.num_bytes:
        raise ValueError("a tensor outside its storage")
    return Leaf()


def _first(data: Any, *_: Any) -> Any:
    return data


def _leaf(*_: Any) -> Leaf:
    return Leaf()


def _subclass(function: Any, _type: Any, args: Any, _state: Any) -> Any:
    if not isinstance(function, Call):
        raise UnsafeError("a tensor of another class")
    return function(*args)


ITEM_BYTES: Mapping[str, int] = {
    **{
        f"{name}Storage": torch.empty(0, dtype=dtype).element_size()
        for name, dtype in {
            **{"Double": torch.float64, "Float": torch.float32, "Half": torch.float16},
            **{"BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32},
            **{"Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool},
            **{"ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128},
        }.items()
    },
    "UntypedStorage": 1,
}
"""Bytes of an element, by the type of the storage."""
DTYPE_BYTES = {
    str(each): each.itemsize for each in vars(torch).values() if isinstance(each, torch.dtype)
}
CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.Counter": _ordered_dict,
    "builtins.set": _set,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _leaf,
    "_codecs.encode": encode_latin1,
    "numpy.dtype": DType,
    **{f"{home}.scalar": scalar for home in NUMPY_HOMES},
    "torch.Size": lambda size: tuple(map(_count, size)),
    "torch.device": _leaf,
    "torch.serialization._get_layout": _leaf,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_meta_tensor_no_storage": _leaf,
    "torch._utils._rebuild_sparse_tensor": _leaf,
    "torch._tensor._rebuild_from_type_v2": _subclass,
}
"""Functions that a pickle of torch may call, each with a check of its arguments."""
