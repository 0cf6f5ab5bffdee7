import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import host_backend
import pytest
import torch
from fake_cupy import FakeCuPy, FakeTorch

from rednet.ops import backend, results
from rednet.ops.cuda import modules
from rednet.ops.cuda.plan import Launch


@pytest.fixture(scope="session")
def emulator() -> ModuleType:
    """Return the module that runs CUDA kernels on the CPU; skips where it cannot."""
    module = importlib.import_module("emulator")
    if reason := module.unavailable_reason():
        pytest.skip(reason)
    return module


@pytest.fixture
def on_host(emulator) -> Iterator[list[Launch]]:
    """Has the cuda backend compute CPU tensors through the emulator; returns what it launches."""
    with host_backend.on_host(emulator.run) as launches:
        yield launches


@pytest.fixture(scope="session")
def sanitizers(emulator) -> None:
    """Skips where the sanitizers cannot watch kernels."""
    if reason := emulator.sanitizers_unavailable_reason():
        pytest.skip(reason)


@pytest.fixture
def torch_state(monkeypatch):
    """torch's state, as if it had GPUs. `device` is None for CPU tensors, which stand in."""
    state = FakeTorch()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: state.device)
    monkeypatch.setattr(torch.cuda, "device", state.switch)
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=state.handle)
    )
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: state.is_capturing)
    return state


@pytest.fixture
def cupy(monkeypatch, torch_state):
    """CuPy's stand-in; no kernel is loaded yet."""
    fake = FakeCuPy(torch_state)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(modules, "_loaded", {})
    modules.stream.cache_clear()
    yield fake
    modules.stream.cache_clear()


@pytest.fixture(scope="module")
def gpu() -> Iterator[torch.device]:
    """The GPU on which the CUDA kernels compute, with NaN where their results will be.

    Skips where there is none.
    """
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA GPU")
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    empty = results.empty_result
    with pytest.MonkeyPatch.context() as patch, backend("cuda"):
        patch.setattr(results, "empty_result", lambda *args: empty(*args).fill_(torch.nan))
        yield torch.device("cuda", torch.cuda.current_device())
