"""The layers that are measured, their cost, and unfold."""

import pytest
import torch

import rednet
from benchmarks.layers import layers_of, random_inputs, unfold_involution2d
from rednet import Involution2d, ops

CPU = torch.device("cpu")


def test_the_layers_are_those_of_the_network():
    found = set()

    def note(layer, inputs, output):
        window = layer.window
        shape = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
        found.add((*shape, layer.groups, window.kernel_size, window.stride, window.padding))

    with torch.device("meta"):
        model = rednet.RedNet()
        for module in model.modules():
            if isinstance(module, Involution2d):
                module.register_forward_hook(note)
        model.eval()(torch.empty(1, 3, 224, 224))
    expected = set()
    for layer in layers_of(224).values():
        window = layer.window
        groups = layer.weight_shape[0] // window.area
        numbers = (groups, window.kernel_size, window.stride, window.padding)
        expected.add((layer.input_shape, layer.output_shape, *numbers))
    assert found == expected


def test_counts_against_hand_numbers():
    layer = layers_of(224)["stage2-first"]
    assert layer.operations(16) == 2 * 16 * 128 * 49 * 28 * 28
    assert layer.elements(16) == 16 * (128 * 56 * 56 + 8 * 49 * 28 * 28 + 128 * 28 * 28)
    stem = layers_of(224)["stem"]
    assert stem.operations(1) == 2 * 32 * 9 * 112 * 112
    assert stem.elements(1) == (2 * 32 + 2 * 9) * 112 * 112


@pytest.mark.parametrize("name", ["stem", "stage2-first", "stage4"])
def test_unfold_is_the_same_operator(name):
    layer = layers_of(64)[name]
    tensors = random_inputs(layer, 2, torch.float64, CPU, torch.contiguous_format)
    window = layer.window
    numbers = (window.kernel_size, window.stride, window.padding, window.dilation)
    found = []
    for function in (unfold_involution2d, rednet.involution2d):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors[:2]]
        with ops.backend("reference"):
            output = function(*leaves, *numbers)
            found.append((output, *torch.autograd.grad(output, leaves, tensors[2])))
    torch.testing.assert_close(*found)
