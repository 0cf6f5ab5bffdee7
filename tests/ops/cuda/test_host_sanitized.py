"""The CUDA kernels under the compiler's sanitizers."""

from pathlib import Path

import pytest

RUN = """
import pytest
from hypothesis import settings
settings.register_profile("short", max_examples=40)
settings.register_profile("long", max_examples=200)
sys.exit(pytest.main([*sys.argv[1:], "-qs", "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
"""


# A layer of RedNet, and a few generated calls.
PART = ["--hypothesis-profile=short", "-m", "not nightly", "-k", "test_values or window0"]
EVERYTHING = ["--hypothesis-profile=long", "-m", "nightly or not nightly"]


@pytest.mark.usefixtures("sanitizers")
@pytest.mark.parametrize(
    "arguments", [PART, pytest.param(EVERYTHING, marks=pytest.mark.nightly)], ids=["part", "all"]
)
def test_the_sanitizers_find_nothing(emulator, arguments):
    check(emulator, "test_host_sweep.py", *arguments)


@pytest.mark.nightly
@pytest.mark.usefixtures("sanitizers")
@pytest.mark.parametrize(
    "file", ["test_span.py", "test_span_gradients.py", "test_banded_gradients.py"]
)
def test_they_find_nothing_in_kernels_with_a_span(emulator, file):
    names = "(layers or strides or test_values or test_gradients or outside) and not many"
    check(emulator, file, "--hypothesis-profile=short", "-m", "nightly or not nightly", "-k", names)


def check(emulator, file, *arguments):
    """Run the tests of a file in a process with the sanitizers."""
    done = emulator.run_sanitized(RUN, str(Path(__file__).with_name(file)), *arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
