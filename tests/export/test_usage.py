"""The printed lines for a file that says nothing of its classes and images."""

import pytest
from torch import nn

from rednet.export import Options, Subject, usage


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("torch_export", ".pt2")])
@pytest.mark.parametrize(("channels", "mean"), [(1, "[0.5]"), (3, "[0.485, 0.456, 0.406]")])
def test_numbers_of_classes_and_usual_images(format, suffix, channels, mean):
    subject = Subject(nn.Identity(), {}, {}, None, channels, 224)
    lines = usage(f"net{suffix}", format, subject, Options()).splitlines()
    assert not any("json" in line or "files" in line for line in lines)
    assert any(f" / 255 - {mean}) / " in line for line in lines)
    assert lines[-1] == "print(logits.argmax())"
