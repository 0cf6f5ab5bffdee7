"""The C++ kernels' headers, and what their C interface shares with Python."""

import re
import shutil
import subprocess

import pytest
import torch

from rednet.ops import compiler
from rednet.ops.c_interface import DTYPE_CODES, Status, check_status
from rednet.ops.native import SOURCE

FOLDER = SOURCE.parent


def enum(name):
    """The members of an enum of the interface, as C++ has them."""
    text = (FOLDER / "interface.h").read_text(encoding="utf-8")
    members = re.search(rf"enum {name} \{{(.*?)\}};", text, re.DOTALL)[1]
    pairs = (member.split("=") for member in members.split(","))
    return {key.strip(): int(value) for key, value in pairs}


def test_both_languages_have_the_same_status():
    ours = {f"k{each.name.title().replace('_', '')}": each.value for each in Status}
    assert ours == enum("Status")


def test_both_languages_have_the_same_dtypes():
    names = {"kFloat32": torch.float32, "kBFloat16": torch.bfloat16, "kFloat64": torch.float64}
    assert {name: DTYPE_CODES[dtype] for name, dtype in names.items()} == enum("Dtype")
    assert len(names) == len(DTYPE_CODES)


def test_a_status_becomes_an_error():
    check_status("kernel", Status.DONE)
    with pytest.raises(MemoryError, match="kernel: not enough memory for its working space"):
        check_status("kernel", Status.OUT_OF_MEMORY)
    for status in (Status.UNKNOWN_DTYPE, 7):
        with pytest.raises(RuntimeError, match=f"kernel failed with status {int(status)}"):
            check_status("kernel", status)


@pytest.mark.skipif(
    not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
)
@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.h")))
def test_a_header_compiles_alone(name, tmp_path):
    source = tmp_path / "alone.cpp"
    source.write_text(f'#include "{FOLDER / name}"\n')
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = [*compiler.find_compiler(), *compiler.FLAGS, *warnings, "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
