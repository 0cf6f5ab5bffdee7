"""NVRTC and NVIDIA's disassemblers, which all work without a driver.

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
TOOLS = ("nvdisasm", "cuobjdump")
TIMEOUT_S = 300
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
"""What CuPy adds to the options of a kernel."""


class CompileError(RuntimeError):
    """NVRTC refuses a kernel; the message ends with its log."""


@dataclass(frozen=True)
class Cubin:
    """One kernel as machine code.

    Attributes:
        name: Of the kernel's function.
        arch: Compute capability without its point, e.g. 80.
        code: The ELF file.
    """

    name: str
    arch: int
    code: bytes


def why_not() -> str | None:
    """Why kernels cannot be compiled and disassembled here, and what to do; None where they can."""
    try:
        compiler_version()
        for name in TOOLS:
            find_tool(name)
    except InputError as error:
        return str(error)
    return None


def compiler_version() -> str:
    """NVRTC's version, e.g. "13.0"."""
    return ".".join(str(number) for number in _nvrtc().getVersion())


def compile(kernel: "Kernel", arch: int) -> Cubin:
    """Compiles one kernel for one architecture.

    Args:
        kernel: As the launch layer would compile it.
        arch: Compute capability without its point, one of `ARCHITECTURES`.

    Raises:
        InputError: There is no CuPy.
        CompileError: NVRTC refuses it.
    """
    from rednet.ops.cuda.source import source

    return compile_text(source(), kernel.operator, kernel.options, arch)


def compile_text(text: str, name: str, options: Sequence[str], arch: int) -> Cubin:
    """Compiles CUDA text that defines the kernel `name`."""
    nvrtc = _nvrtc()
    program = nvrtc.createProgram(text, "involution.cu", [], [])
    try:
        nvrtc.compileProgram(program, [*options, *CUPY_OPTIONS, f"--gpu-architecture=sm_{arch}"])
        # CuPy drops the last byte, without which the disassemblers refuse the file.
        return Cubin(name, arch, nvrtc.getCUBIN(program) + b"\0")
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program).strip()
        said = " ".join(options)
        raise CompileError(f"{name} for sm_{arch} with {said}: {error}\n{log}") from error
    finally:
        nvrtc.destroyProgram(program)


def disassemble(cubin: Cubin) -> str:
    """The machine code as nvdisasm prints it, without its search for targets of indirect jumps."""
    return _ask("nvdisasm", "--print-code", "--no-dataflow", cubin=cubin)


def resource_usage(cubin: Cubin) -> str:
    """Registers, stack and shared memory as cuobjdump prints them."""
    return _ask("cuobjdump", "--dump-resource-usage", cubin=cubin)


@cache
def find_tool(name: str) -> Path:
    """Where a tool is: in triton's wheel, which fits this torch, else on PATH.

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


def _ask(tool: str, *options: str, cubin: Cubin) -> str:
    with tempfile.NamedTemporaryFile(prefix="rednet-", suffix=".cubin") as file:
        file.write(cubin.code)
        file.flush()
        command = [str(find_tool(tool)), *options, file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode or done.stderr:
        said = (done.stderr or done.stdout).strip()
        raise RuntimeError(f"{tool} fails on {cubin.name} for sm_{cubin.arch}: {said}")
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
