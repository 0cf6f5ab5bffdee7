from collections.abc import Callable

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.assembly import Code, parse

LISTING = """
\t.section\t.text.other,"ax",@progbits
.text.other:
        /*0000*/                   FFMA R0, R0, R0, R0 ;
        /*0010*/                   EXIT ;
//--------------------- .text.kernel --------------------------
\t.section\t.text.kernel,"ax",@progbits
\t.sectioninfo\t@"SHI_REGISTERS=32"
kernel:
.text.kernel:
{body}
.L_x_9:
        /*0f00*/                   BRA `(.L_x_9);
        /*0f10*/                   NOP;
.L_x_10:


//--------------------- SYMBOLS --------------------------
"""


def _code_of(body):
    lines = (
        line if line.startswith((".", "$")) else f"        /*0000*/                   {line} ;"
        for line in (line.strip() for line in body.strip().splitlines())
    )
    return parse(LISTING.format(body="\n".join(lines)), "kernel")


@pytest.fixture(scope="session")
def code_of() -> Callable[[str], Code]:
    """Returns a function that reads instructions as nvdisasm would print them."""
    return _code_of


@pytest.fixture(scope="session")
def compiler() -> None:
    """Skips where kernels cannot be compiled and disassembled."""
    reason = toolchain.why_not()
    if reason is not None:
        pytest.skip(reason)
