"""Activation checkpointing saves memory and changes nothing else."""

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import rednet
from rednet.layers import checkpoint_module


class Created(TorchDispatchMode):
    """Record every storage created inside the context."""

    def __init__(self):
        super().__init__()
        self.sizes = {}

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.sizes[StorageWeakRef(storage)] = storage.nbytes()
        return result

    def bytes_alive(self):
        return sum(size for storage, size in self.sizes.items() if not storage.expired())


def bytes_kept(model, images):
    """Return the bytes that a forward pass stores for the backward pass."""
    with Created() as created:
        output = model.train()(images)
    kept = created.bytes_alive()
    assert output.requires_grad
    return kept


def train_once(model, images):
    """Return output, gradients and buffers of one forward and backward pass."""
    torch.manual_seed(3)
    output = model.train()(images)
    output.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {"output": output.detach(), **gradients, **dict(model.named_buffers())}


OPTIONS = [
    {},
    {"recompute_kernel": False},
    {"drop_path_rate": 0.5, "drop_rate": 0.3},
    {"generator": "attention", "generator_options": {"softmax": True}},
    {"stem": "small", "norm_layer": "groupnorm1", "involution_stages": [2, 4]},
    {"act_layer": "silu", "output_stride": 8},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_bits(options, make_tiny, images):
    plain, checkpointed = make_tiny(**options), make_tiny(**options)
    checkpointed.set_grad_checkpointing()
    expected = train_once(plain, images())
    found = train_once(checkpointed, images())
    assert found.keys() == expected.keys()
    for key in expected:
        assert torch.equal(found[key], expected[key]), key


def test_it_can_be_switched_off_again(make_tiny, images):
    model = make_tiny()
    calls = []
    model.layer1[0].register_forward_pre_hook(lambda *_: calls.append(1))
    for enable, runs in ((True, 2), (False, 1)):
        model.set_grad_checkpointing(enable)
        calls.clear()
        train_once(model, images())
        assert len(calls) == runs


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_updated_once(momentum):
    norm = nn.BatchNorm2d(4, momentum=momentum)
    x = torch.randn(8, 4, 3, 3, requires_grad=True)
    checkpoint_module(norm, x).sum().backward()
    alone = nn.BatchNorm2d(4, momentum=momentum)
    alone(x)
    assert norm.num_batches_tracked == 1
    assert torch.equal(norm.running_mean, alone.running_mean)
    assert torch.equal(norm.running_var, alone.running_var)
    assert norm.momentum == momentum


def test_frozen_normalisation_stays_frozen(make_tiny, images):
    model = make_tiny().train()
    model.set_grad_checkpointing()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(images()).sum().backward()
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


def test_a_block_that_fails_in_the_backward_pass_restores_its_statistics(make_tiny, images):
    model = make_tiny().train()
    model.set_grad_checkpointing()
    output = model(images())
    block = model.layer3[0]
    hook = block.conv3.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        output.sum().backward()
    hook.remove()
    assert (block.bn1.momentum, block.bn1.num_batches_tracked.item()) == (0.1, 1)


def test_each_way_of_saving_memory_saves_some(make_tiny, images):
    kept = [
        bytes_kept(make_tiny(recompute_kernel=recompute), images(64, batch=4))
        for recompute in (False, True)
    ]
    checkpointed = make_tiny()
    checkpointed.set_grad_checkpointing()
    kept.append(bytes_kept(checkpointed, images(64, batch=4)))
    assert kept[1] < 0.9 * kept[0]
    assert kept[2] < 0.7 * kept[1]


def test_memory_compared_with_a_resnet():
    """About 1.06 times ResNet-50's with recomputed kernels, 1.33 with stored kernels."""
    options = {"layers": (3, 4, 6, 3)}
    images = torch.randn(4, 3, 64, 64)
    resnet = bytes_kept(rednet.RedNet(stem="conv7", involution_stages=[], **options), images)
    recomputing = bytes_kept(rednet.RedNet(**options), images) / resnet
    keeping = bytes_kept(rednet.RedNet(recompute_kernel=False, **options), images) / resnet
    assert 1.0 < recomputing < 1.1
    assert 1.25 < keeping < 1.4
