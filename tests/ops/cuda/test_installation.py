"""What users are told if CuPy does not work with torch's GPU; no GPU is needed."""

import contextlib
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from rednet.ops import backend, backends, select
from rednet.ops.broken_backend import BrokenBackend
from rednet.ops.cuda import installation, modules, unavailable_reason

GPU, FLOAT = torch.device("cuda", 0), torch.float32
RENEWAL = 'reinstall it with the CUDA libraries that it needs: pip install "cupy-cuda13x[ctk]>=14"'


@pytest.fixture(autouse=True)
def torch_with_a_gpu(monkeypatch):
    monkeypatch.delenv("REDNET_BACKEND", raising=False)
    monkeypatch.setattr(backends, "_forced", None)
    monkeypatch.setattr(backends, "_warned", {})
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.version, "hip", None)
    for name, answer in {"is_available": True, "is_current_stream_capturing": False}.items():
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "device", lambda index: contextlib.nullcontext())
    installation.unavailable_reason.cache_clear()
    yield
    installation.unavailable_reason.cache_clear()


@pytest.fixture
def cupy(monkeypatch):
    """A working CuPy, and the kernels that it was asked for."""
    fake = ModuleType("cupy")
    fake.__version__ = "14.2.0"
    fake.cuda = SimpleNamespace(driver=SimpleNamespace(get_build_version=lambda: 13020))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    fake.made = []
    monkeypatch.setattr(modules, "make", lambda *arguments: fake.made.append(arguments))
    return fake


@pytest.fixture
def failing(cupy, monkeypatch):
    """Return a function that makes CuPy fail to compile kernels."""

    def fail(error):
        def make(name, code, options):
            raise error

        monkeypatch.setattr(modules, "make", make)

    return fail


def finding_cupy_raises(monkeypatch, error):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise error

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def test_available(cupy):
    assert select(GPU, FLOAT).name == "cuda"
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert select(GPU, dtype).name == "cuda"
    assert cupy.made == [("rednet_trial", installation.TRIAL, ("--std=c++17",))]
    assert select(torch.device("cuda", 1), FLOAT).name == "cuda"
    assert len(cupy.made) == 2


def test_other_devices_and_dtypes(cupy):
    assert unavailable_reason(torch.device("cpu"), FLOAT) == "it runs on NVIDIA GPUs, not on cpu"
    assert "not in torch.float8_e4m3fn" in unavailable_reason(GPU, torch.float8_e4m3fn)
    assert select(torch.device("cpu"), FLOAT).name != "cuda"
    assert cupy.made == []


@pytest.mark.parametrize("cuda, extra", [("12.8", "cuda12"), ("13.0", "cuda13")])
def test_missing(monkeypatch, cuda, extra):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    reason = unavailable_reason(GPU, FLOAT)
    assert isinstance(reason, BrokenBackend)
    assert reason == f'CuPy is missing: pip install --upgrade "rednet[{extra}]"'


def test_missing_for_a_cuda_that_has_no_extra_yet(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(torch.version, "cuda", "14.1")
    assert unavailable_reason(GPU, FLOAT) == "CuPy is missing: install the CuPy for CUDA 14"


def test_the_reference_is_used_with_one_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.warns(RuntimeWarning, match=r"'cuda' cannot run.*rednet\[cuda13\]") as caught:
        assert select(GPU, FLOAT).name == "reference"
    assert len(caught) == 1
    assert select(GPU, torch.float16).name == "reference"
    with backend("cuda"), pytest.raises(RuntimeError, match="'cuda' cannot run: CuPy is missing"):
        select(GPU, FLOAT)


@pytest.mark.parametrize("gone", ["hip", "cuda", "device"])
def test_without_an_nvidia_gpu_nothing_is_broken(monkeypatch, gone):
    monkeypatch.setitem(sys.modules, "cupy", None)
    if gone == "hip":
        monkeypatch.setattr(torch.version, "hip", "6.4")
    elif gone == "cuda":
        monkeypatch.setattr(torch.version, "cuda", None)
    else:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    reason = unavailable_reason(GPU, FLOAT)
    assert reason and not isinstance(reason, BrokenBackend)
    assert select(GPU, FLOAT).name == "reference"


def test_built_for_another_cuda(cupy):
    cupy.cuda.driver.get_build_version = lambda: 12090
    assert unavailable_reason(GPU, FLOAT) == (
        "CuPy 14.2.0 is built for CUDA 12 and torch for CUDA 13: remove it "
        '(pip uninstall cupy-cuda12x) and pip install --upgrade "rednet[cuda13]"'
    )
    assert cupy.made == []


def test_too_old(cupy):
    cupy.__version__ = "12.3.0"
    assert unavailable_reason(GPU, FLOAT).startswith("CuPy 12.3.0 is older than 13: pip install")


def test_remains_of_an_uninstalled_cupy(monkeypatch, tmp_path):
    (tmp_path / "cupy" / "_core").mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    reason = unavailable_reason(GPU, FLOAT)
    sys.modules.pop("cupy", None)
    assert reason.startswith(
        f"only the remains of CuPy are installed: delete {tmp_path / 'cupy'} and pip"
    )


def test_an_import_that_fails(monkeypatch):
    error = ImportError("\n=====\nFailed to import CuPy.\n\nmuch advice\n=====\n")
    error.__cause__ = ImportError("libcublas.so.13: cannot open shared object file")
    finding_cupy_raises(monkeypatch, error)
    assert unavailable_reason(GPU, FLOAT) == (
        "CuPy cannot be imported "
        f"(ImportError: libcublas.so.13: cannot open shared object file): {RENEWAL}"
    )


def test_a_part_of_cupy_that_is_missing(monkeypatch):
    finding_cupy_raises(monkeypatch, ModuleNotFoundError("No module named 'x'", name="fastrlock"))
    reason = unavailable_reason(GPU, FLOAT)
    assert reason.startswith("CuPy cannot be imported (ModuleNotFoundError: No module named 'x')")


def test_a_read_only_home(monkeypatch):
    finding_cupy_raises(monkeypatch, PermissionError(13, "Permission denied", "/nowhere/.cupy"))
    assert unavailable_reason(GPU, FLOAT) == (
        "CuPy cannot be imported (PermissionError: [Errno 13] Permission denied: "
        "'/nowhere/.cupy'): set CUPY_CACHE_DIR to a writable folder"
    )


def test_no_compiler_of_cuda(failing):
    error = RuntimeError("CuPy failed to load libnvrtc.so.13: OSError: no such file")
    failing(error)
    assert unavailable_reason(GPU, FLOAT) == (
        "CuPy 14.2.0 cannot compile a kernel "
        f"(RuntimeError: CuPy failed to load libnvrtc.so.13: OSError: no such file): {RENEWAL}"
    )


def test_a_read_only_cache(failing):
    error = RuntimeError("as modules.make says")
    error.__cause__ = OSError(28, "No space left on device")
    failing(error)
    reason = unavailable_reason(GPU, FLOAT)
    assert "No space left on device" in reason and "set CUPY_CACHE_DIR" in reason


def test_it_is_checked_once(cupy):
    for _ in range(3):
        unavailable_reason(GPU, FLOAT)
    assert len(cupy.made) == 1


def test_it_is_not_checked_during_a_capture(cupy, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="run the network once before capturing"):
        select(GPU, FLOAT)
    assert cupy.made == []
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert select(GPU, FLOAT).name == "cuda"
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert select(GPU, FLOAT).name == "cuda"


def test_cupy_itself_is_understood(monkeypatch):
    """If it is installed, everything that needs no GPU is found."""
    real = pytest.importorskip("cupy", reason="CuPy is not installed")
    made_for = real.cuda.driver.get_build_version() // 1000
    monkeypatch.setattr(torch.version, "cuda", f"{made_for}.0")
    made = []
    monkeypatch.setattr(modules, "make", lambda *arguments: made.append(arguments))
    assert unavailable_reason(GPU, FLOAT) is None
    assert len(made) == 1
