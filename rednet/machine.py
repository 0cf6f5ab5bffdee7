"""Describe the machine: processor, memory, device, compiler, versions of the software."""

import os
import platform
import re
import subprocess
from functools import cache
from typing import Any

import timm
import torch

from rednet.ops.compiler import CPU_INFO, BuildError, find_compiler
from rednet.versions import rednet_version

TIMEOUT_S = 10
"""How long a compiler may take to say its version."""


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return plain values that describe the machine and the versions of the software."""
    return {
        **describe_hardware(device),
        "compiler": compiler_version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "timm": timm.__version__,
        "rednet": rednet_version(),
    }


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """Return plain values that describe processor, threads, device and system."""
    return {
        "cpu": cpu_model(),
        "cores": count_cores(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": f"{platform.system()} {platform.machine()}",
    }


def cpu_model() -> str:
    """Return the name of the processor."""
    text = CPU_INFO.read_text() if CPU_INFO.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or "unknown"


def count_cores() -> int | None:
    """Return the number of cores that this process may use; None if it is unknown."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count()


@cache
def compiler_version() -> str | None:
    """Return the first line of the C++ compiler's version, None if there is no compiler."""
    try:
        command = [*find_compiler(), "--version"]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except (BuildError, OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.partition("\n")[0] or None
