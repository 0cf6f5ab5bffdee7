"""Open exported networks in the programs that run them, with a number of threads."""

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO

import torch
from torch import Tensor

Run = Callable[..., Tensor]
"""Return the first output for the inputs of a network."""


def open_onnxruntime(data: bytes, threads: int = 1) -> Run:
    """Open the content of an ONNX file in ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: torch.from_numpy(
        session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))[0]
    )


def open_openvino(data: bytes, threads: int = 1, precision: str = "f32") -> Run:
    """Open the content of an ONNX file in OpenVINO, on the CPU.

    Without the hint of a precision, OpenVINO computes in bfloat16 where the processor can.
    """
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(data, b""), "CPU", settings)
    return lambda *inputs: torch.from_numpy(compiled([x.numpy() for x in inputs])[0])


def open_torch(data: bytes, threads: int = 1) -> Run:
    """Open the content of a .pt2 file in PyTorch, whose threads are set already."""
    return torch.no_grad()(torch.export.load(BytesIO(data)).module())


RUNTIMES = {"onnxruntime": open_onnxruntime, "openvino": open_openvino, "torch": open_torch}


def unavailable_reason(runtime: str) -> str | None:
    """Return what makes a runtime of `RUNTIMES` run exports here, None if it does already."""
    packages = ("torch",) if runtime == "torch" else ("onnx", "onnxscript", runtime)
    missing = [package for package in packages if find_spec(package) is None]
    return f"pip install {' '.join(missing)}" if missing else None


def left_out() -> list[str]:
    """Return a line about each runtime that cannot run an export here."""
    reasons = {runtime: unavailable_reason(runtime) for runtime in RUNTIMES}
    return [f"left out: {runtime}: {reason}" for runtime, reason in reasons.items() if reason]
