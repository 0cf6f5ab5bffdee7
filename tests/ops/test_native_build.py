"""The compiled kernels: what is cached, where, for whom, and what happens without a compiler."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rednet import commands
from rednet.ops import carried, compiler, library_cache
from rednet.ops.private_folder import open_private

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
)

ONES = """
import os, warnings, torch, rednet, rednet.ops
def ones():
    return rednet.involution2d(torch.ones(1, 2, 3, 3), torch.ones(1, 9, 3, 3), 3, 1, 1)
"""
ALONE = f"""
import sys, types
from pathlib import Path
for name in ("rednet", "rednet.ops"):  # without what they import, which takes seconds
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(Path({compiler.__file__!r}).parent)]
from rednet.ops import compiler
print("ready", flush=True)
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "answer.cpp"
    path.write_text('extern "C" int answer() { return 42; }\n')
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache folder, which does not exist yet."""
    path = tmp_path / "cache"
    monkeypatch.setenv("REDNET_CACHE", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    library_cache._say_once.cache_clear()
    return path


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return a function that lists the compilations so far, one command line each."""
    log = tmp_path / "calls"
    real = compiler.find_compiler()[0]
    monkeypatch.setenv("CXX", str(script(tmp_path, f'echo "$@" >> {log}; exec {real} "$@"')))
    return lambda: [line for line in log.read_text().splitlines() if " -o " in line]


def script(folder, text):
    path = folder / "compiler.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def content(folder):
    """The files of a cache except for the one that is locked."""
    return [path for path in folder.iterdir() if path.name != library_cache.LOCK]


@needs_compiler
def test_compiled_once(source, folder, calls):
    assert compiler.load(source).answer() == 42
    assert compiler.load(source).answer() == 42
    assert len(calls()) == 1
    assert [path.suffix for path in content(folder)] == [".so"]


@needs_compiler
def test_under_any_umask(source, folder):
    previous = os.umask(0)
    try:
        assert compiler.load(source).answer() == 42
    finally:
        os.umask(previous)


@needs_compiler
def test_compiled_for_this_cpu_with_threads_and_the_flags_given(source, folder, calls):
    compiler.load(source, ["-DNDEBUG"])
    assert {"-march=native", "-fopenmp", "-O3", "-DNDEBUG"} <= set(calls()[0].split())


@needs_compiler
def test_everything_that_determines_the_code_is_in_the_name(source, folder, calls, monkeypatch):
    compiler.load(source)
    compiler.load(source, ["-DNDEBUG"])
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "cpu_model", lambda: ["another"])
        compiler.load(source)
    (source.parent / "part.h").write_text("// first\n")
    source.write_text('#include "part.h"\n' + source.read_text())
    compiler.load(source)
    (source.parent / "part.h").write_text("// second\n")
    compiler.load(source)
    monkeypatch.setenv("CXX", os.environ["CXX"] + " -DFLAG")
    compiler.load(source)
    assert len(calls()) == len(content(folder)) == 6


def test_a_cpu_is_identified_by_its_features():
    assert compiler.cpu_model() == compiler.cpu_model()
    assert not any("MHz" in line for line in compiler.cpu_model())
    if Path("/proc/cpuinfo").exists():
        assert any(line.startswith(("flags", "Features", "isa")) for line in compiler.cpu_model())


@needs_compiler
def test_a_compiler_with_another_option_for_the_cpu(source, folder, tmp_path, monkeypatch):
    text = f"""
case "$1" in
    -march=native) echo "error: unsupported option '-march=native'" >&2; exit 1;;
    -mcpu=native) shift;;
esac
exec {compiler.find_compiler()[0]} "$@"
"""
    monkeypatch.setenv("CXX", str(script(tmp_path, text)))
    assert compiler.load(source).answer() == 42


@needs_compiler
def test_eight_processes_at_once(source, folder, calls):
    code = f"{ALONE}\nsys.stdin.read()\nprint(compiler.load(Path({str(source)!r})).answer())"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(8)]
        assert [process.stdout.readline() for process in started] == ["ready\n"] * 8
        for process in started:
            process.stdin.close()
        assert [process.stdout.read() for process in started] == ["42\n"] * 8
    assert len(calls()) == 1
    assert [path.suffix for path in content(folder)] == [".so"]


@needs_compiler
def test_a_folder_that_cannot_be_locked(source, folder, monkeypatch):
    def flock(handle, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    assert compiler.load(source).answer() == 42
    assert [path.suffix for path in content(folder)] == [".so"]


def test_no_process_waits_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(library_cache, "LOCK_TIMEOUT_S", 0)
    with library_cache.lock_cache(tmp_path), library_cache.lock_cache(tmp_path):
        pass


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_renamed_openmp_runtime_is_shared(source, folder, tmp_path):
    runtime = tmp_path / "libgomp-1234.so.1"
    call = "void (*body)(void*), void* data, unsigned, unsigned) { body(data); }"
    source.write_text(f'extern "C" void GOMP_parallel({call}')
    options = ["-shared", "-fPIC", f"-Wl,-soname,{runtime.name}"]
    subprocess.run([*compiler.find_compiler(), source, *options, "-o", runtime], check=True)
    source.write_text(
        'extern "C" int answer() {\n    int sum = 0;\n'
        "#pragma omp parallel num_threads(2)\n    sum += 42;\n    return sum;\n}\n"
    )
    code = f"""{ALONE}
compiler.ctypes.CDLL({str(runtime)!r})
print(compiler.load(Path({str(source)!r})).answer())
print(*{{path.name for path in compiler._mapped_files() if path.name.startswith("libgomp")}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["ready", "42", runtime.name], done.stderr


@needs_compiler
@pytest.mark.parametrize("damage", ["emptied", "truncated", "changed", "not a library"])
def test_a_damaged_library_is_rebuilt(damage, source, folder, calls, tmp_path, monkeypatch):
    compiler.load(source)
    library = content(folder)[0]
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    damaged = other / library.name
    damaged.write_bytes(damages(library.read_bytes())[damage])
    damaged.chmod(0o600)
    monkeypatch.setenv("REDNET_CACHE", str(other))
    assert compiler.load(source).answer() == 42
    assert content(other) == [damaged]
    assert damaged.read_bytes()[:4] == b"\x7fELF"
    assert compiler.load(source).answer() == 42
    assert len(calls()) == 2


def damages(content):
    half = len(content) // 2
    text = b"no library"
    return {
        "emptied": b"",
        "truncated": content[:half],
        "changed": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
        "not a library": text + library_cache._DIGEST(text).digest(),
    }


@needs_compiler
@pytest.mark.parametrize("place", ["file/below", "file", "open", "open/below", "tied", "grouped"])
def test_another_cache_takes_the_place_of_one_that_cannot_be_used(
    place, source, folder, calls, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    for name, mode in {"open": 0o777, "grouped": 0o770}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    (tmp_path / "tied").symlink_to("tied")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("REDNET_CACHE", str(tmp_path / place))
    home = tmp_path / "home" / "rednet"
    with pytest.warns(RuntimeWarning, match=f"compiled kernels are kept in {home}; REDNET_CACHE"):
        assert compiler.load(source).answer() == 42
    assert [path for path in tmp_path.rglob("*.so") if path.parent != home] == []
    assert set(before) <= set(tmp_path.rglob("*"))
    assert compiler.load(source).answer() == 42  # without another warning
    assert len(calls()) == 1


@needs_compiler
def test_without_any_cache_every_process_compiles(source, folder, calls, tmp_path, monkeypatch):
    for name in ("open", "temporary"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    monkeypatch.setenv("REDNET_CACHE", str(tmp_path / "open" / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "open" / "b"))
    monkeypatch.setattr(library_cache.tempfile, "tempdir", str(tmp_path / "open"))
    with (
        pytest.warns(RuntimeWarning, match="kept nowhere, every process compiles"),
        pytest.raises(compiler.BuildError, match="open can be written by everyone"),
    ):
        compiler.load(source)
    (tmp_path / "open").chmod(0o1777)  # as /tmp is
    monkeypatch.setattr(library_cache, "_candidates", list)
    assert compiler.load(source).answer() == 42
    assert list((tmp_path / "open").iterdir()) == []


@needs_compiler
def test_a_read_only_cache_with_the_library_is_used(source, folder, calls, monkeypatch):
    compiler.load(source)
    folder.chmod(0o500)
    assert compiler.load(source).answer() == 42
    assert len(calls()) == 1


@needs_compiler
def test_a_full_cache_is_not_used(source, folder, monkeypatch):
    def full(temporary, folder, name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library_cache, "_put", full)
    with pytest.warns(RuntimeWarning, match="cannot keep"):
        assert compiler.load(source).answer() == 42
    assert not content(folder)


@needs_compiler
def test_nothing_is_loaded_that_others_can_write(source, folder, tmp_path, monkeypatch, calls):
    compiler.load(source)
    library = content(folder)[0]
    library.chmod(0o666)
    cache = open_private(folder)
    assert library_cache.load_cached(cache, library.name) is None
    assert compiler.load(source).answer() == 42
    assert library.stat().st_mode & 0o777 == 0o600
    assert len(calls()) == 2
    library.rename(tmp_path / "elsewhere.so")
    library.symlink_to(tmp_path / "elsewhere.so")
    assert library_cache.load_cached(cache, library.name) is None
    library.unlink()
    os.mkfifo(library, 0o600)
    assert library_cache.load_cached(cache, library.name) is None
    cache.close()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"REDNET_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"REDNET_CACHE": "~/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/c/a"),
        ({"REDNET_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/rednet"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/rednet"),
        ({"HOME": "/c"}, "/c/.cache/rednet"),
    ],
)
def test_where_the_cache_is(variables, expected, monkeypatch, tmp_path):
    for name in ("REDNET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(library_cache.tempfile, "tempdir", str(tmp_path))
    first, *_, last = library_cache._candidates()
    assert first == Path(expected)
    assert last == tmp_path / f"rednet-{os.geteuid()}"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nonexistent/g++", "no compiler '/nonexistent/g\\+\\+' found"),
        ("g++ 'unclosed", "is not a command"),
        ("false", "false failed with code 1"),
    ],
)
def test_a_wrong_compiler_is_named(command, message, source, folder, monkeypatch):
    monkeypatch.setenv("CXX", command)
    with pytest.raises(compiler.BuildError, match=message):
        compiler.load(source)


@needs_compiler
def test_a_compiler_that_does_not_finish(source, folder, tmp_path, monkeypatch):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    monkeypatch.setenv("CXX", str(script(tmp_path, f"exec cat {fifo}")))
    monkeypatch.setattr(compiler, "TIMEOUT_S", 0.1)
    with pytest.raises(compiler.BuildError, match="timed out"):
        compiler.load(source)


@needs_compiler
def test_an_error_of_the_source_is_shown(source, folder):
    source.write_text("int answer() { return unknown; }\n")
    with pytest.raises(compiler.BuildError, match=r"'unknown' was not declared|undeclared"):
        compiler.load(source)
    with pytest.raises(compiler.BuildError, match="reinstall rednet"):
        compiler.load(source.parent / "missing.cpp")


def test_a_library_that_does_not_load(source, folder, tmp_path, monkeypatch):
    text = f'cd {tmp_path}; for last; do :; done; echo nothing > "$last"'
    monkeypatch.setenv("CXX", str(script(tmp_path, text)))
    with (
        pytest.warns(RuntimeWarning, match="cannot keep"),
        pytest.raises(compiler.BuildError, match="cannot be stored or loaded"),
    ):
        compiler.load(source)


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="has the levels of x86-64")
def test_carried_to_a_machine_without_a_compiler(source, folder, monkeypatch):
    """The best library that the CPU can run is loaded, and no other one."""
    opened = open_private(folder)
    files = {
        level: carried.make_carried(source, [f"-DLEVEL={number}"], level, opened)
        for number, level in enumerate(carried.levels())
    }
    opened.close()
    assert [file.stat().st_mode & 0o777 for file in files.values()] == [0o644] * 3
    monkeypatch.setenv("CXX", "/nonexistent")

    def load(level):
        flags = [f"-DLEVEL={carried.levels().index(level)}"]
        try:
            return carried.load(source, flags).answer()
        except compiler.BuildError as error:
            assert (
                str(error)
                == "no compiler '/nonexistent' found: set CXX to another one, or unset it"
            )

    def cpu_with(flags):
        lines = ["x86_64", f"flags\t\t: fpu {' '.join(flags)}"]
        monkeypatch.setattr(compiler, "cpu_model", lambda: lines)

    assert load("native") == 42
    cpu_with(carried._V4)
    assert [load(level) for level in files] == [None, 42, 42]  # another CPU
    cpu_with(carried._V3)
    assert [load(level) for level in files] == [None, None, 42]
    cpu_with(carried._V3 - {"fma"})
    assert [load(level) for level in files] == [None, None, None]
    cpu_with(carried._V4)
    file = files["x86-64-v3"]
    content = file.read_bytes()
    file.unlink()  # the library is loaded: its memory is the file's
    file.write_bytes(content[:-1])
    assert load("x86-64-v3") is None


def test_the_command_that_makes_kernels_to_carry(tmp_path, monkeypatch, capsys):
    assert commands.build_kernels([]) == 2
    assert "output=FOLDER is needed" in capsys.readouterr().err
    assert commands.build_kernels([f"output={tmp_path}", "cpu=x86-64-v9"]) == 2
    assert "error: cpu=x86-64-v9: choose one of native" in capsys.readouterr().err
    monkeypatch.setenv("CXX", "/nonexistent")
    assert commands.build_kernels([f"output={tmp_path}"]) == 2
    assert "no compiler '/nonexistent' found" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert commands.build_kernels([f"output={tmp_path}/file"]) == 2
    assert f"error: output={tmp_path}/file: " in capsys.readouterr().err


def test_the_import_compiles_nothing(fresh_python, tmp_path):
    cxx = script(tmp_path, f"touch {tmp_path}/called; exit 1")
    code = """
import warnings
with warnings.catch_warnings(action="error", category=RuntimeWarning):
    import rednet, rednet.ops, rednet.layers, rednet.registry
"""
    assert fresh_python(code, CXX=str(cxx), REDNET_CACHE=str(tmp_path / "cache")) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [cxx.name]


@pytest.mark.parametrize(
    ("cxx", "path", "message"),
    [
        ("/nonexistent", "", "no compiler '/nonexistent' found"),
        (
            None,
            "/nonexistent",
            "no C++ compiler found: install g++, set CXX, or carry compiled kernels",
        ),
        ("broken", "/nonexistent", "internal compiler error: out of luck"),
    ],
)
def test_one_warning_and_the_reference_without_a_compiler(
    cxx, path, message, fresh_python, tmp_path
):
    if cxx == "broken":
        cxx = str(script(tmp_path, "echo internal compiler error: out of luck >&2; exit 1"))
    code = (
        ONES
        + """
with warnings.catch_warnings(record=True) as caught:
    print([ones()[0, 0, 1, 1].item() for _ in range(3)], rednet.ops.select(
        torch.device("cpu"), torch.bfloat16).name)
print(*[type(warning.message).__name__ for warning in caught])
print(str(caught[0].message).replace(chr(10), " "))
"""
    )
    variables = {"CXX": cxx, "PATH": path, "REDNET_CACHE": str(tmp_path / "cache")}
    printed = fresh_python(code, REDNET_BACKEND=None, **variables)
    values, kinds, warning = printed.splitlines()
    assert values == "[9.0, 9.0, 9.0] reference"
    assert kinds == "RuntimeWarning"
    assert message in warning
    assert "backend 'native' cannot run, the slower reference is used" in warning


def test_a_forced_native_backend_needs_the_compiler(fresh_python, tmp_path):
    code = (
        ONES
        + """
def attempt():
    try:
        ones()
    except RuntimeError as error:
        print(error)
os.environ["REDNET_BACKEND"] = "native"
attempt()
del os.environ["REDNET_BACKEND"]
with rednet.ops.backend("native"):
    attempt()
"""
    )
    printed = fresh_python(code, CXX="/nonexistent", REDNET_CACHE=str(tmp_path / "cache"))
    message = "backend 'native' cannot run: no compiler '/nonexistent' found"
    assert [line.startswith(message) for line in printed.splitlines()] == [True, True]
