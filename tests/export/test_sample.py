"""Exported networks on the 250 sample photographs of ImageNet, against PyTorch.

The weights are random, with the batch statistics of the photographs.
"""

import pytest
import torch
from calibrated import calibrated
from onnx_runtimes import in_onnxruntime, in_openvino, subject_of
from photographs import load_photographs

from rednet.export import Options, write_program
from rednet.models.variants import LAYERS

BATCHES = [(1, 224), (3, 225)]


@pytest.mark.nightly
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_the_logits_and_the_class_of_every_photograph(name):
    model = calibrated(load_photographs(224), name)
    data = write_program(subject_of(model, 224), "onnx", Options())
    runtimes = in_onnxruntime(data), in_openvino(data)
    for batch, size in BATCHES:
        for images in load_photographs(size).split(batch):
            expected = model(images)
            for run in runtimes:
                found = run(images)
                assert (found - expected).abs().max() / expected.abs().max() < 1e-4
                assert torch.equal(found.argmax(1), expected.argmax(1))
