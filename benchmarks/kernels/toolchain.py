"""NVRTC and NVIDIA's disassemblers, all of which work without a driver.

NVRTC comes with CuPy, nvdisasm and cuobjdump with triton's wheel or a CUDA toolkit.
"""

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rednet.errors import InputError

if TYPE_CHECKING:
    from rednet.ops.cuda.plan import Kernel

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
TIMEOUT_S = 300
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
"""What CuPy adds to the options of a kernel."""


class CompileError(RuntimeError):
    """NVRTC rejected a kernel; the message ends with the compiler's log."""


@dataclass(frozen=True)
class Cubin:
    """One kernel as machine code.

    Attributes:
        name: Name of the kernel's function.
        arch: Compute capability without the point, e.g. 80.
        code: The ELF file.
    """

    name: str
    arch: int
    code: bytes


def unavailable_reason() -> str | None:
    """Return why kernels cannot be compiled and disassembled here; None if they can."""
    try:
        compiler_version()
        for name in ("nvdisasm", "cuobjdump"):
            find_tool(name)
    except InputError as error:
        return str(error)
    return None


def compiler_version() -> str:
    """Return NVRTC's version, e.g. "13.0"."""
    return ".".join(str(number) for number in _nvrtc().getVersion())


def compile(kernel: "Kernel", arch: int) -> Cubin:
    """Compile a kernel as the launch layer would, for one of `ARCHITECTURES`.

    Raises:
        InputError: CuPy is missing.
        CompileError: NVRTC rejects the kernel.
    """
    from rednet.ops.cuda.source import source

    return compile_text(source(), kernel.operator, kernel.options, arch)


def compile_text(text: str, name: str, options: Sequence[str], arch: int) -> Cubin:
    """Compile CUDA source that defines the kernel `name`."""
    nvrtc = _nvrtc()
    program = nvrtc.createProgram(text, "involution.cu", [], [])
    try:
        nvrtc.compileProgram(program, [*options, *CUPY_OPTIONS, f"--gpu-architecture=sm_{arch}"])
        # CuPy drops the last byte, and the disassemblers reject the file without it.
        return Cubin(name, arch, nvrtc.getCUBIN(program) + b"\0")
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program).strip()
        command = " ".join(options)
        raise CompileError(f"{name} for sm_{arch} with {command}: {error}\n{log}") from error
    finally:
        nvrtc.destroyProgram(program)


def disassemble(cubin: Cubin) -> str:
    """Return the machine code as nvdisasm prints it."""
    # Without --no-dataflow nvdisasm searches for targets of indirect jumps, which takes long.
    return _run_on(cubin, "nvdisasm", "--print-code", "--no-dataflow")


def resource_usage(cubin: Cubin) -> str:
    """Return registers, stack and shared memory as cuobjdump prints them."""
    return _run_on(cubin, "cuobjdump", "--dump-resource-usage")


@cache
def find_tool(name: str) -> Path:
    """Find a tool in triton's wheel, which matches the installed torch, or else on PATH.

    Raises:
        InputError: It is in neither.
    """
    spec = importlib.util.find_spec("triton")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "backends" / "nvidia" / "bin" / name
        if path.exists():
            return path
    on_path = shutil.which(name)
    if on_path is None:
        raise InputError(
            f"{name} is neither in triton's wheel nor on PATH: install triton or the CUDA toolkit"
        )
    return Path(on_path)


def _run_on(cubin: Cubin, tool: str, *options: str) -> str:
    with tempfile.NamedTemporaryFile(prefix="rednet-", suffix=".cubin") as file:
        file.write(cubin.code)
        file.flush()
        command = [str(find_tool(tool)), *options, file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    # The tools of CUDA 12 warn about the newer format of cubins, which they can read.
    problems = [line for line in done.stderr.splitlines() if " warning : " not in line]
    if done.returncode or problems:
        message = "\n".join(problems) or done.stdout.strip()
        raise RuntimeError(f"{tool} fails on {cubin.name} for sm_{cubin.arch}: {message}")
    return done.stdout


def _nvrtc() -> Any:
    try:
        from cupy.cuda import nvrtc
    except ImportError as error:
        raise InputError(
            f"NVRTC comes with CuPy, which cannot be imported ({error}): "
            "pip install 'rednet[cuda13]'"
        ) from error
    return nvrtc
