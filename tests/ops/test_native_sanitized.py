"""The sweep under the compiler's sanitizers, and with narrower vectors."""

import os
import platform
import subprocess
import sys
from itertools import cycle, product
from pathlib import Path

import pytest
import torch

from rednet.ops import compiler, native, native_span

SWEEP = Path(__file__).with_name("test_native_sweep.py")
# The address sanitizer also finds null pointers and objects that are too small. Calls instead of
# inlined checks compile in a tenth of the time.
SANITIZED = (
    *("-Og", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "-fno-sanitize=null,object-size,vptr",
    *("--param", "asan-instrumentation-with-call-threshold=0"),
)
RUN = """
import os, sys
os.environ.pop("LD_PRELOAD", None)
import pytest
from hypothesis import settings
from rednet.ops import native, native_span
settings.register_profile("short", max_examples=8)
flags, *arguments = sys.argv[1:]
native.FLAGS = native_span.FLAGS = tuple(flags.split())
sys.exit(pytest.main([*arguments, "-qs", "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
"""


def runtime(name):
    """Return the file of a compiler's library; skip the test if there is none."""
    try:
        command = [*compiler.find_compiler(), f"-print-file-name={name}"]
    except compiler.BuildError as error:
        pytest.skip(str(error))
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(path):
        pytest.skip(f"the compiler has no {name}")
    return path


def sweep(flags, *arguments, **variables):
    """Run the sweep in a separate process, on kernels compiled with more flags."""
    command = [sys.executable, "-c", RUN, " ".join(flags), str(SWEEP), *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "2", **variables},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )


VALUES = str(SWEEP.with_name("test_native_values.py"))
# Some generated calls of each kernel in each dtype.
PART = ["--hypothesis-profile=short", "-k", "values"]
# Nothing touches the 4 GiB of the tests beyond 32 bits, but the address sanitizer maps them.
EVERYTHING = [VALUES, "-m", "nightly or not nightly", "-k", "not beyond_32_bits"]


@pytest.mark.parametrize(
    "arguments",
    [PART, pytest.param(EVERYTHING, marks=pytest.mark.nightly)],
    ids=["part", "all"],
)
def test_the_sanitizers_find_nothing(arguments):
    libraries = [runtime("libasan.so"), runtime("libstdc++.so")]
    done = sweep(
        SANITIZED,
        *arguments,
        LD_PRELOAD=":".join(libraries),
        ASAN_OPTIONS="detect_leaks=0",
        UBSAN_OPTIONS="print_stacktrace=1",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


WINDOWS = [(3, 1, 1, 1), (3, 2, 1, 1), (7, 1, 3, 1), (7, 2, 3, 1), (5, 1, 2, 1), (2, 3, 2, 2)]
SIZES = [(5, 1), (7, 56), (16, 17), (2, 33)]
GROUPS = [(1, 3), (2, 17), (1, 16), (3, 4), (4, 1)]
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
LIBRARIES = [
    (native, native._build),
    (native_span, native_span._library),
    (native_span, native_span._multiplies_pairs),
]
needs_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the flags that narrow vectors are those of x86"
)


NARROWER = [pytest.param("-mno-avx512f", marks=pytest.mark.nightly), "-mno-avx"]


@pytest.fixture(scope="module", params=NARROWER)
def narrower_vectors(request, only_native):
    """Compile the kernels for vectors of 32 or 16 bytes; less optimization compiles faster."""
    runtime("libstdc++.so")
    with pytest.MonkeyPatch.context() as patch:
        for kernels, load in LIBRARIES:
            patch.setattr(kernels, "FLAGS", ("-O1", request.param))
            load.cache_clear()
        yield request.param
    for _, load in LIBRARIES:
        load.cache_clear()


@needs_x86
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_narrower_vectors(narrower_vectors, window, dtype, make_case, view, assert_accurate):
    layouts = product(["contiguous", "channels_last", "inside"], repeat=3)
    for size, (groups, width), views in zip(cycle(SIZES), cycle(GROUPS), layouts, strict=False):
        case = make_case(size, groups, window, group_width=width, dtype=dtype)
        assert_accurate(*map(view, case, views), groups, window)


@needs_x86
@pytest.mark.parametrize("dtype", native_span.DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_a_span_with_narrower_vectors(
    narrower_vectors, window, dtype, make_case, view, assert_span_accurate
):
    for size, (groups, width), depth in zip(SIZES, GROUPS, (1, 8, 17, 32), strict=False):
        input, reduced, _ = make_case(size, groups, window, group_width=width, dtype=dtype)
        reduced = reduced[:, :1].expand(-1, depth, -1, -1)
        assert_span_accurate(view(input, "inside"), reduced, groups, window, True)


@pytest.mark.nightly
@needs_x86
def test_all_values_with_narrower_vectors(narrower_vectors):
    done = sweep(("-O2", narrower_vectors), *EVERYTHING)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
