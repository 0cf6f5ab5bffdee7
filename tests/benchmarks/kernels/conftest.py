import pytest

from benchmarks.kernels import toolchain


@pytest.fixture(scope="session")
def compiler() -> None:
    """Skip where kernels cannot be compiled and disassembled."""
    reason = toolchain.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
