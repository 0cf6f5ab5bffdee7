"""What the operators save for the backward pass, and what the reference allocates."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from rednet import involution2d
from rednet.ops import Window, reference

WINDOW = Window(7, 1, 3, 1)
GROUPS = 2


def size_of(*tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class PeakMemory(TorchDispatchMode):
    """Track the bytes of all storages that are created inside and still alive."""

    def __init__(self, *known):
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.storages = WeakIdKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.known:
                    self.storages[storage] = storage.nbytes()
        self.peak = max(self.peak, sum(self.storages.values()))
        return result


@pytest.fixture
def case(make_case):
    window = (7, 1, 3, 1)
    return make_case((24, 20), GROUPS, window, group_width=16, dtype=torch.float32)


def test_only_the_two_arguments_are_saved_for_the_backward_pass(case):
    input, weight, _ = (tensor.requires_grad_() for tensor in case)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
    ):
        involution2d(input, weight, 7, 1, 3)
    assert size_of(*saved) == size_of(input, weight)
    assert size_of(*saved) < 49 * size_of(input) / 10


def test_unfolding_saves_more(case, unfolded):
    input, weight, _ = case
    with PeakMemory(*case) as memory:
        unfolded(input, weight, 7, 1, 3)
    assert memory.peak > 2 * 49 * size_of(input)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_reference_allocates_a_few_images_and_its_result(case, layout):
    input, weight, grad = (tensor.contiguous(memory_format=layout) for tensor in case)
    calls = [
        (lambda: reference.involution2d(input, weight, WINDOW), grad),
        (lambda: reference.involution2d_grad_input(grad, weight, (24, 20), WINDOW), input),
        (lambda: reference.involution2d_grad_weight(grad, input, GROUPS, WINDOW), weight),
    ]
    for operator, result in calls:
        with PeakMemory(input, weight, grad) as memory:
            operator()
        assert size_of(result) <= memory.peak <= size_of(result) + 4 * size_of(input)
