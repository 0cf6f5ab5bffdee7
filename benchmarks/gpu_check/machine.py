"""Stage "versions": the machine, its driver and the packages."""

import importlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from benchmarks.gpu_check.stages import Emit, Settings

PACKAGES = (
    "torch",
    "triton",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "numpy",
    "timm",
    "pytest",
    "hypothesis",
)
QUERY = (
    *("name", "driver_version", "memory.total", "memory.used", "power.limit", "persistence_mode"),
    *("clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "temperature.gpu"),
)


def run(settings: Settings, emit: Emit) -> None:
    """Emit what the figures of the other stages depend on."""
    emit(
        f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores",
        python=platform.python_version(),
        platform=platform.platform(),
        cores=os.cpu_count(),
    )
    packages = {name: _version(name) for name in PACKAGES}
    found = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    emit(f"packages: {found}", packages=packages)
    _emit_torch(emit, settings)
    _emit_imports(emit)
    if settings.on_gpu:
        _emit_driver(emit)
        _emit_cupy(emit)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _emit_torch(emit: Emit, settings: Settings) -> None:
    import torch

    build = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    emit(f"torch {torch.__version__}, CUDA {build['cuda']}, cuDNN {build['cudnn']}", **build)
    if not settings.on_gpu:
        return
    if not torch.cuda.is_available():
        emit("torch sees no GPU", ok=False, no_gpu=True)
        return
    gpu = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info(0)
    emit(
        f"{gpu.name}, sm_{gpu.major}{gpu.minor}, {gpu.multi_processor_count} multiprocessors, "
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        gpu=gpu.name,
        architecture=10 * gpu.major + gpu.minor,
        multiprocessors=gpu.multi_processor_count,
        l2_bytes=getattr(gpu, "L2_cache_size", None),
        free_bytes=free,
        total_bytes=total,
    )


def _emit_imports(emit: Emit) -> None:
    """Emit which parts of RedNet can be imported, by the packages that are there."""
    parts = {"operators": "rednet.ops", "networks": "timm", "commands": "rednet.commands"}
    reasons: dict[str, str | None] = {}
    for part, module in parts.items():
        try:
            importlib.import_module("rednet")
            importlib.import_module(module)
            reasons[part] = None
        except Exception as error:  # a broken package may raise anything
            reasons[part] = f"{type(error).__name__}: {error}"
    texts = [f"{part} {'yes' if reason is None else reason}" for part, reason in reasons.items()]
    emit(f"can be imported: {'; '.join(texts)}", imports=reasons)


def _emit_driver(emit: Emit) -> None:
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        emit(f"nvidia-smi: {error}")
        return
    values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    found = dict(zip(QUERY, values, strict=False))
    emit(", ".join(f"{name} {value}" for name, value in found.items()), nvidia_smi=found)


def _emit_cupy(emit: Emit) -> None:
    try:
        import cupy
    except Exception as error:  # a missing library of CUDA is an ImportError, others are not
        emit(f"CuPy cannot be imported: {error}", ok=False)
        return
    compiler = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
    runtime, driver = cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.runtime.driverGetVersion()
    emit(
        f"CuPy {cupy.__version__}, NVRTC {compiler}, runtime {runtime}, driver for CUDA {driver}",
        cupy=cupy.__version__,
        nvrtc=compiler,
        runtime=runtime,
        driver=driver,
    )
