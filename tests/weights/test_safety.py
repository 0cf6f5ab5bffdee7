"""Reading a file never runs code from it."""

import functools
import importlib
import operator
import os
import pickle
import struct
import subprocess
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from rednet.errors import InputError
from rednet.weights import pickles, read_checkpoint

UNSAFE = r"checkpoint=[^\n]*: cannot be loaded safely: it contains [^\n]*, not only tensors[^\n]*$"
ONE_LINE = (
    r"checkpoint=[^\n]*: (cannot be loaded safely|damaged, truncated or not a checkpoint)[^\n]*$"
)


class Call:
    """An object that pickles as a call of a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def harmful(canary):
    """Return values that would create the file `canary`, or import code, if they were loaded."""
    statement = f"open({str(canary)!r}, 'w')"
    return {
        "system": Call(os.system, f"touch {canary}"),
        "open": Call(open, str(canary), "w"),
        "eval": Call(eval, statement),
        "exec": Call(exec, statement),
        "compile": Call(compile, statement, "a", "exec"),
        "process": Call(subprocess.check_output, ["touch", str(canary)]),
        "getattr": Call(getattr, "text", "upper"),
        "import": Call(importlib.import_module, "json"),
        "attribute": Call(operator.attrgetter("system")),
        "partial": Call(functools.partial, print, 3),
        "class": Call(types.SimpleNamespace),
        "function": print,
        "numpy.load": Call(np.load, str(canary)),
        "numpy.objects": np.array([print, 3], dtype=object),
        "numpy.records": np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        "numpy.dates": np.zeros(2, dtype="M8[s]"),
        "numpy.texts": np.array(["text"]),
        "numpy.raw": np.zeros(2, dtype="V8"),
    }


NAMES = sorted(harmful(""))


@pytest.fixture
def refuse(tmp_path):
    """Return a function that asserts that a file is refused in one line and runs nothing."""

    def check(path, match=ONE_LINE):
        with pytest.raises(InputError, match=match):
            read_checkpoint(path)
        assert not (tmp_path / "canary").exists()

    return check


@pytest.fixture
def values(tmp_path):
    return harmful(tmp_path / "canary")


def test_the_values_are_indeed_harmful(values, tmp_path):
    for name in ("system", "process"):
        pickle.loads(pickle.dumps(values[name]))
        (tmp_path / "canary").unlink()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle(protocol, name, values, refuse, tmp_path):
    arrays = {"bn._mean": np.zeros(3, np.float32), "bn.weight": values[name]}
    for number, content in enumerate([arrays, values[name], [values[name]], ("a", values[name])]):
        path = tmp_path / f"{number}.pdparams"
        path.write_bytes(pickle.dumps(content, protocol))
        refuse(path, UNSAFE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("new", [True, False])
def test_a_file_of_torch(new, name, values, refuse, tmp_path):
    content = {"state_dict": {"a": torch.ones(1)}, "meta": {"args": values[name]}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    refuse(tmp_path / "a.pth", UNSAFE)


def name_of(module, name):
    """Return the opcodes that look up a name, which may have dots."""
    return (
        b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"
    )


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


SETS_ATTRIBUTES = b"(N}" + text("__init__") + b"Nst" + b"b."
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
PROGRAMS = {
    "nested name": name_of("numpy", "f2py.os.system"),
    "name below a known one": name_of("numpy", "dtype.__init__.__globals__"),
    "name below a function": name_of("_codecs", "encode.__self__"),
    "module of numpy": name_of("numpy.core.multiarray", "os"),
    "instance": b"(" + text("true") + b"ios\nsystem\n",
    "object": b"(cos\nsystem\n" + text("true") + b"o",
    "extension": b"\x82\x01",
    "persistent": text("storage") + b"Q",
    "persistent text": b"Pstorage\n",
    "paddle": b"cpaddle.fluid.core_avx\nLoDTensor\n)R",
    "paddle eval": b"c__builtin__\neval\n" + text("3") + b"\x85R",
    "torch": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    "encoding": b"c_codecs\nencode\n" + text("text") + text("rot13") + b"\x86R",
    "array without type": b"cnumpy\nndarray\n)R",
    "attributes of a type": b"cnumpy\ndtype\n" + SETS_ATTRIBUTES,
    "attributes of a function": b"c_codecs\nencode\n" + SETS_ATTRIBUTES,
    "attributes of a number": b"cnumpy.core.multiarray\nscalar\n" + SETS_ATTRIBUTES,
    "a state that is no state": b"cnumpy\ndtype\n" + text("f4") + b"\x85RNb",
    "underflow": b"",
    "endless text": b"X\xff\xff\xff\xff",
    "array without constructor": b"}" + text("a._mean") + ARRAY + b")\x81s",
    "bytes that do not follow": b"\x96" + struct.pack("<Q", 2**33),
    "nested tuple as a name": b"})" + b"2\x86" * 60 + b"Ns",
    "nested tuples as names": b"}()" + b"2\x86" * 60 + b"Nu",
    "name of a float": b"}G\x00\x00\x00\x00\x00\x00\x00\x00Ns",
    "tuple of a text": b"cbuiltins\ntuple\n" + text("abc") + b"\x85R",
    "tuple of a dictionary": b"cbuiltins\ntuple\n}\x85R",
    "far memo": b"Nr\xff\xff\xff\xff0j\xff\xff\xff\x00",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_opcodes(name, refuse, tmp_path):
    before = dict(vars(pickles.DType)), dict(vars(pickles.ArrayUnpickler))
    for protocol in (b"\x80\x02", b"\x80\x04"):
        (tmp_path / "a.pdparams").write_bytes(protocol + PROGRAMS[name] + b".")
        refuse(tmp_path / "a.pdparams")
    assert before == (dict(vars(pickles.DType)), dict(vars(pickles.ArrayUnpickler)))


def test_the_message_names_what_was_found(tmp_path):
    (tmp_path / "a").write_bytes(pickle.dumps(Call(os.system, "true")))
    with pytest.raises(InputError, match=r"it contains posix\.system, not only tensors and plain"):
        read_checkpoint(tmp_path / "a")
    torch.save({"state_dict": {}, "args": types.SimpleNamespace()}, tmp_path / "b")
    with pytest.raises(InputError, match=r"it contains types\.SimpleNamespace, not only"):
        read_checkpoint(tmp_path / "b")


class Hiding(OrderedDict):
    """A dict that pickles as an ordered dict whose methods are shadowed by attributes."""

    def __reduce__(self):
        hidden = dict.fromkeys(("items", "keys", "get"), "hidden")
        return OrderedDict, (), hidden, None, iter(self.items())


@pytest.mark.parametrize("content", [Hiding(weight=torch.ones(2)), {"model": Hiding()}])
def test_hidden_methods(content, refuse, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    refuse(
        tmp_path / "a.pth",
        r"checkpoint=[^\n]*: (damaged, truncated or not a checkpoint|contains no state dict)",
    )


def test_zip_files_of_others(refuse, tmp_path):
    np.savez(tmp_path / "a.npz", weight=np.ones(3))
    refuse(tmp_path / "a.npz", "is a zip file that torch.save did not write$")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "a.pt2")
    refuse(tmp_path / "a.pt2", "is a zip file that torch.save did not write$")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as file:
        file.writestr("script/data.pkl", pickle.dumps(3, 2))
        file.writestr("script/constants.pkl", pickle.dumps((), 2))
    refuse(tmp_path / "script.pt", r"is a TorchScript program; save its state dict")
