"""Run the content of an ONNX file in ONNX Runtime and in OpenVINO."""

import pytest
from torch import nn

from benchmarks.runtimes import Run, open_onnxruntime, open_openvino
from rednet.export import Subject


def subject_of(model: nn.Module, size: int = 64) -> Subject:
    network = {"name": "rednet26", "options": {}}
    preprocessing = {"image_size": size, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}
    return Subject(model, network, preprocessing, ["ä", "b"], 3, size)


def in_onnxruntime(data: bytes) -> Run:
    return open_onnxruntime(data)


def in_openvino(data: bytes) -> Run:
    pytest.importorskip("openvino", reason="needs pip install openvino")
    return open_openvino(data)
