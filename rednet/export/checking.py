"""Run an exported file and compare its outputs with PyTorch's."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import BytesIO

import torch
from torch import Tensor

from rednet.errors import InputError
from rednet.export.aoti_file import open_aoti
from rednet.export.program import INPUT
from rednet.export.subject import Options, Subject

TOLERANCE = 1e-4
"""Largest difference of an output, relative to the largest output."""

Run = Callable[[Tensor], Tensor]


def check_file(data: bytes, format: str, subject: Subject, options: Options) -> float | None:
    """Return the largest relative error of an exported network, None if nothing can run it.

    Args:
        data: Content of the file.
        format: "onnx", "torch_export" or "aoti".
        subject: The network.
        options: Properties of the exported network.

    Raises:
        InputError: The outputs are not those of the network.
    """
    run = OPENERS[format](data)
    if run is None:
        return None
    error = max(relative_error(run(x), subject, x) for x in _inputs(subject, options))
    if not error < TOLERANCE:
        raise InputError(f"the exported network has outputs with a relative error of {error:.0e}")
    return error


@torch.no_grad()
def relative_error(found: Tensor, subject: Subject, images: Tensor) -> float:
    """Return the largest difference of any output, relative to the largest output.

    Raises:
        InputError: The network's outputs are not finite.
    """
    expected = subject.model(images)
    if not expected.isfinite().all():
        raise InputError("the network itself has outputs that are infinite or no numbers")
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return ((found - expected).abs().max() / scale).item()


def _inputs(subject: Subject, options: Options) -> Iterator[Tensor]:
    """Yield batches of one and three images, the latter of another, odd size if any is allowed."""
    yield subject.images(1)
    yield subject.images(3, subject.size + 1 - subject.size % 2 if options.dynamic_size else None)


def _open_onnx(data: bytes) -> Run | None:
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {INPUT: images.numpy()})[0])


def _open_torch(data: bytes) -> Run:
    program = torch.export.load(BytesIO(data)).module()
    return torch.no_grad()(program)


OPENERS: dict[str, Callable[[bytes], Run | None]] = {
    "onnx": _open_onnx,
    "torch_export": _open_torch,
    "aoti": open_aoti,
}
RUNTIMES = {
    "onnx": "ONNX Runtime",
    "torch_export": "torch.export.load",
    "aoti": "aoti_load_package",
}


def describe_check(format: str, error: float | None) -> str:
    """Return a line about the result of `check_file`."""
    if error is None:
        return "not checked: pip install onnxruntime to compare the file with PyTorch"
    return f"checked in {RUNTIMES[format]}: relative error {error:.0e} against PyTorch"
