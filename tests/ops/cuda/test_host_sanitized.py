"""The sweep of the CUDA kernels under the compiler's sanitizers."""

from pathlib import Path

import pytest

RUN = """
import pytest
from hypothesis import settings
settings.register_profile("short", max_examples=25)
sys.exit(pytest.main([*sys.argv[1:], "-qs", "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
"""


@pytest.mark.usefixtures("sanitizers")
@pytest.mark.parametrize("part", ["test_values", "test_the_layers_of_rednet"])
def test_the_sanitizers_find_nothing(emulator, part):
    sweep = Path(__file__).with_name("test_host_sweep.py")
    arguments = ["--hypothesis-profile=short", "-m", "not nightly"]
    done = emulator.run_sanitized(RUN, f"{sweep}::{part}", *arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
