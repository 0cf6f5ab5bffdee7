"""Check what compiles and keeps kernels: GPU, CUDA, compiler, caches."""

import os
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch

from rednet.doctor.packages import installed_version
from rednet.doctor.report import Report
from rednet.doctor.system import to_text
from rednet.machine import compiler_version
from rednet.ops.compiler import BuildError, find_compiler
from rednet.ops.cuda.installation import DEFAULT_CACHE
from rednet.ops.library_cache import find_cache
from rednet.ops.private_folder import open_private
from rednet.wording import count

DRIVER = Path("/proc/driver/nvidia/version")
CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
MAX_FILES = 10_000
"""Files of a cache that are counted."""


def check_tools(report: Report) -> None:
    """Report GPUs and CUDA, CuPy, the compiler, Python's headers, and the caches of kernels."""
    for label, check in CHECKS.items():
        with report.checking(label):
            check(report)


def _check_cuda(report: Report) -> None:
    with warnings.catch_warnings(record=True) as caught:  # a driver that is too old is a warning
        warnings.simplefilter("always")
        is_available = torch.cuda.is_available()
    built_for = torch.version.cuda
    text = (
        f"torch is built for CUDA {built_for}" if built_for else "torch is built for the CPU only"
    )
    if not is_available:
        report.add("CUDA", f"{text}; it sees no GPU")
    for index in range(torch.cuda.device_count() if is_available else 0):
        found = torch.cuda.get_device_properties(index)
        kind = f"sm_{found.major}{found.minor}, {to_text(found.total_memory)}"
        report.add("CUDA", f"{text}; GPU {index}: {found.name}, {kind}")
    if DRIVER.exists() and not is_available:
        reason = " ".join(str(caught[0].message).split()) if caught else text
        report.problems.append(
            f"there is an NVIDIA driver, but torch sees no GPU ({reason}): install the torch for "
            "the CUDA version that nvidia-smi shows, and see CUDA_VISIBLE_DEVICES"
        )


def _check_cupy(report: Report) -> None:
    found = [f"{name} {version}" for name in CUPY if (version := installed_version(name))]
    report.add("CuPy", ", ".join(found) or "not installed; the cuda backend needs it")


def _check_compiler(report: Report) -> None:
    try:
        command = " ".join(find_compiler())
    except BuildError as error:  # a problem only if no kernels were carried here
        report.add("compiler", f"none: {error}")
        return
    report.add("compiler", f"{command}: {compiler_version() or 'does not say its version'}")


def _check_headers(report: Report) -> None:
    folder, version = Path(sysconfig.get_path("include")), sysconfig.get_python_version()
    text = f"not in {folder}: trainer.compile=true needs them (apt install python{version}-dev)"
    if (folder / "Python.h").is_file():
        text = "found; trainer.compile=true needs them"
    report.add("Python headers", text)


def _check_kernel_cache(report: Report) -> None:
    folder, passed_over = find_cache()
    if folder is None:
        report.add("kernel cache", "none")
        report.problems.append(
            "no folder can keep compiled kernels, so every process compiles: set REDNET_CACHE to a "
            "folder that only you can write to"
        )
    else:
        folder.close()
        report.add("kernel cache", f"{folder.path}, private: {_contents(folder.path)}")
        if not os.access(folder.path, os.W_OK):
            report.problems.append(
                f"{folder.path} is not writable, so every process compiles: set REDNET_CACHE to "
                "another folder"
            )
    where = "nowhere" if folder is None else f"in {folder.path}"
    for reason in passed_over:
        report.problems.append(
            f"{reason}: compiled kernels are kept {where}; make it yours alone (chmod go-w), or "
            "set REDNET_CACHE to another folder"
        )


def _check_other_caches(report: Report) -> None:
    """Report the folders of other programs' kernels, which are replaced if not private."""
    caches = {"CuPy's cache": os.environ.get("CUPY_CACHE_DIR") or str(DEFAULT_CACHE)}
    if given := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        caches["torch.compile's cache"] = given
    for label, path in caches.items():
        if not os.path.isdir(path):
            continue
        try:
            open_private(Path(path)).close()
            report.add(label, f"{path}, private: {_contents(Path(path))}")
        except OSError as error:
            report.add(label, f"{path}, not private ({error}): a private one is used instead")


def _contents(folder: Path) -> str:
    files = list(islice(_files(folder), MAX_FILES))
    more = "over " if len(files) == MAX_FILES else ""
    return f"{more}{count(len(files), 'file')}, {to_text(sum(map(_size, files)))}"


def _files(folder: Path) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        yield from (os.path.join(path, name) for name in names)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:  # just deleted
        return 0


CHECKS = {
    "CUDA": _check_cuda,
    "CuPy": _check_cupy,
    "compiler": _check_compiler,
    "Python headers": _check_headers,
    "kernel cache": _check_kernel_cache,
    "other caches": _check_other_caches,
}
