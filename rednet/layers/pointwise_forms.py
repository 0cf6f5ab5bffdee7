"""Which of two routines computes a 1x1 convolution on the CPU: the rule, and how to change it.

MKL's matrix product and oneDNN's convolution give the same numbers up to rounding. Which is faster
depends on who made the processor, `python scripts/benchmark.py pointwise` measures both.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

from rednet.ops.compiler import CPU_INFO, cpu_model

Form = Literal["product", "convolution"]


@dataclass(frozen=True)
class Forms:
    """How each direction is computed."""

    forward: Form = "product"
    input_gradient: Form = "product"
    weight_gradient: Form = "product"


PRODUCTS = Forms()
CONVOLUTIONS = Forms("convolution", "convolution", "convolution")

# MKL takes a slower path on AMD's processors: forward and input's gradient of RedNet-50 need 1.2
# times as long as with oneDNN (Zen 4), the weight's gradient 1.03 times.
_BY_VENDOR = {"AuthenticAMD": CONVOLUTIONS}

_forms: Forms | None = None


def forms_of(vendor: str) -> Forms:
    """Return the rule for a vendor's name, as CPUID gives it: products unless it is AMD's."""
    return _BY_VENDOR.get(vendor, PRODUCTS)


@cache
def cpu_vendor() -> str:
    """Return the vendor of this machine's processor as CPUID names it, "" if it is not known."""
    lines = (line.partition(":") for line in cpu_model())
    found = (text.strip() for key, _, text in lines if key.strip() == "vendor_id")
    # Only Linux has these lines; Windows ends the processor's name with the vendor.
    return next(found, "" if CPU_INFO.exists() else platform.processor().rpartition(" ")[2])


def pointwise_forms() -> Forms:
    """Return the forms that this process uses: this machine's, unless others are set."""
    return forms_of(cpu_vendor()) if _forms is None else _forms


def set_pointwise_forms(forms: Forms | None) -> None:
    """Use other forms in this process, or this machine's own again (None).

    A run that is continued on another machine needs those that it began with, because the forms
    round differently.
    """
    global _forms
    _forms = forms


@contextmanager
def using_pointwise_forms(forms: Forms) -> Iterator[None]:
    """Use other forms inside a `with` block."""
    previous = _forms
    set_pointwise_forms(forms)
    try:
        yield
    finally:
        set_pointwise_forms(previous)
