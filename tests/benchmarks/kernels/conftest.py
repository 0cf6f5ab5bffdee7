import pytest

from benchmarks.kernels import toolchain


@pytest.fixture(scope="session")
def compiler() -> None:
    """Skip where kernels cannot be compiled and disassembled."""
    reason = toolchain.why_not()
    if reason is not None:
        pytest.skip(reason)
