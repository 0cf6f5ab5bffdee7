"""Run the content of an ONNX file in ONNX Runtime and in OpenVINO."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rednet.export import Subject


def subject_of(model: nn.Module, size: int = 64) -> Subject:
    network = {"name": "rednet26", "options": {}}
    preprocessing = {"image_size": size, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}
    return Subject(model, network, preprocessing, ["ä", "b"], 3, size)


def in_onnxruntime(data: bytes) -> Callable[..., Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: torch.from_numpy(
        session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))[0]
    )


def in_openvino(data: bytes) -> Callable[..., Tensor]:
    openvino = pytest.importorskip("openvino", reason="needs pip install openvino")
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(data, b""), "CPU", settings)
    return lambda *inputs: torch.from_numpy(compiled([x.numpy() for x in inputs])[0])
