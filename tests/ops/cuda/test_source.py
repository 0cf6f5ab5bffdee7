"""The files of the CUDA kernels: each compiles alone, and all together are one text."""

import pytest

from rednet.ops.cuda.source import DEVICE, ENTRY, FOLDER, source

FILES = sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_file_compiles_alone_without_macros(name):
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", exc_type=ImportError)
    program = nvrtc.createProgram(f'#include "{name}"\n', "alone.cu", [], [])
    options = ["--std=c++17", "--gpu-architecture=sm_80", f"--include-path={FOLDER}"]
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))


def test_every_file_is_joined_once():
    lines = source().splitlines()
    assert sorted(line for line in lines if line.startswith("#line 1 ")) == [
        f'#line 1 "{name}"' for name in FILES
    ]
    assert not [line for line in lines if line.startswith(("#include", "#pragma once"))]


def test_the_numbers_of_lines_are_those_of_the_files():
    name, number, found = "", 0, {name: [] for name in FILES}
    for line in source().splitlines():
        if line.startswith("#line "):
            _, number, name = line.split()
            name, number = name.strip('"'), int(number)
        else:
            found[name].append((number, line))
            number += 1
    for name in FILES:
        lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
        assert all(line in ("", lines[number - 1]) for number, line in found[name])
        kept = [line for line in lines if not line.startswith(("#include", "#pragma once"))]
        assert [line for _, line in found[name] if line] == [line for line in kept if line]


def test_another_text_replaces_what_only_a_gpu_can_run():
    text = source("struct Half {};")
    assert "asm" in source() and "asm" not in text
    assert f'#line 1 "{DEVICE}"\nstruct Half {{}};\n#line ' in text
    assert text.startswith(f'#line 1 "{ENTRY}"')
