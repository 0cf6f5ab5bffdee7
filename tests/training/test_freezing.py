"""What is frozen does not move, and what is not trains as if nothing were frozen."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from rednet.build.finetuning import build_freezing
from rednet.config import compose
from rednet.training.freezing import Freezing

STAGES = ["finetune.freeze=stages", "finetune.freeze_stages=2"]
BACKBONE = ["finetune.freeze=backbone"]


def freeze(model, *overrides):
    return build_freezing(compose("train", [*overrides, "schedule.epochs=9"]), model, set())


def gradients(model, images):
    """The gradients of a step in training mode, by name."""
    model.train()
    targets = torch.arange(len(images)) % model.num_classes
    F.cross_entropy(model(images), targets).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return grads


def batch_norms(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (STAGES, {"layer3", "layer4", "fc"}),
        (
            ["finetune.freeze=stages", "finetune.freeze_stages=0"],
            {*map("layer{}".format, "1234"), "fc"},
        ),
        (["finetune.freeze=stages", "finetune.freeze_stages=4"], {"fc"}),
        (BACKBONE, {"fc"}),
        ([], {"stem", *map("layer{}".format, "1234"), "fc"}),
    ],
)
def test_which_parts_train(overrides, expected, make_tiny, images):
    model = make_tiny()
    freeze(model, *overrides)
    grads = gradients(model, images(batch=4))
    assert {name.partition(".")[0] for name in grads} == expected
    assert {p for p in model.parameters() if p.requires_grad} == {
        dict(model.named_parameters())[name] for name in grads
    }


def test_what_a_step_costs_in_forward_passes(make_tiny):
    freezing = freeze(make_tiny(), "finetune.head_epochs=1", *STAGES)
    assert 1 < freezing.cost(0) < 1.2 < 1.5 < freezing.cost(1) < 2.5
    assert freeze(make_tiny()).cost(0) == 3


@pytest.mark.parametrize(
    ("batch_norm", "training"),
    [
        ("follow", {"layer3", "layer4"}),
        ("freeze", set()),
        ("train", {"stem", *map("layer{}".format, "1234")}),
    ],
)
def test_which_batch_norms_train(batch_norm, training, make_tiny, images):
    """Statistics and affine parameters alike."""
    model = make_tiny()
    freeze(model, *STAGES, f"finetune.batch_norm={batch_norm}")
    before = copy.deepcopy(model.state_dict())
    grads = gradients(model, images(batch=4))
    norms = batch_norms(model)
    moved = {
        name
        for name in norms
        if not torch.equal(before[f"{name}.running_mean"], norms[name].running_mean)
    }
    assert {name.partition(".")[0] for name in moved} == training
    assert moved == {name for name in norms if f"{name}.weight" in grads}
    assert moved == {name for name, norm in norms.items() if norm.training}


def test_frozen_modules_stay_in_evaluation_mode(make_tiny):
    """Whoever calls `train`, and in a copy too; what is thawed trains again."""
    model = make_tiny(drop_path_rate=0.5)
    keys = list(model.state_dict())
    freezing = Freezing(
        model,
        always=[k for k in keys if k.startswith("stem")],
        at_first=[k for k in keys if k.startswith("layer")],
        first_epochs=1,
    )
    assert freezing.apply(0)
    copied = copy.deepcopy(model)
    for network in (model, copied):
        for mode in (True, False, True):
            network.train(mode)
            network.layer1[0].train(mode)
        frozen = [m for n, m in network.named_modules() if n.startswith(("stem", "layer"))]
        assert not any(module.training for module in frozen)
        assert network.training and network.fc.training
    assert not freezing.apply(0)
    assert freezing.apply(1)
    model.train()
    assert {n.partition(".")[0] for n, m in model.named_modules() if m.training} == {
        *("", "maxpool", "layer1", "layer2", "layer3", "layer4", "global_pool", "fc")
    }
    assert not any(module.training for module in copied.layer1.modules())
    assert list(model.state_dict()) == keys


def test_parameters_that_a_network_never_trains_stay_fixed(make_tiny):
    model = make_tiny()
    model.layer4[0].bn1.weight.requires_grad_(False)
    Freezing(model, at_first=["fc.bias"], first_epochs=1).apply(1)
    assert not model.layer4[0].bn1.weight.requires_grad
    assert model.fc.bias.requires_grad


def as_if_trained_alone(model, images):
    """The gradients of an equal network in which all have one and nothing is recomputed."""
    modes = {name: module.training for name, module in model.train().named_modules()}
    twin = copy.deepcopy(model).requires_grad_(True)
    twin.set_grad_checkpointing(False)
    for name, module in twin.named_modules():
        module.training, module.recompute_kernel = modes[name], False
    return gradients(twin, images), dict(twin.named_buffers())


def assert_trains_alike(model, images, run=None):
    expected, buffers = as_if_trained_alone(model, images)
    found = gradients(model if run is None else run, images)
    found = {name.removeprefix("_orig_mod."): grad for name, grad in found.items()}
    assert found.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    torch.testing.assert_close(found, {n: expected[n] for n in found}, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(dict(model.named_buffers()), buffers)


@pytest.mark.parametrize("overrides", [STAGES, BACKBONE, [*STAGES, "finetune.batch_norm=train"]])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_whole_network(checkpointing, overrides, make_tiny, images):
    model = make_tiny()
    model.set_grad_checkpointing(checkpointing)
    freeze(model, *overrides)
    assert_trains_alike(model, images(batch=4))


@pytest.mark.nightly  # compiles twice
def test_compiled_before_the_rest_is_thawed(make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1), stem="small")
    freezing = freeze(model, "finetune.head_epochs=1", "finetune.freeze=stages")
    torch._dynamo.reset()
    run = torch.compile(model, backend="aot_eager")
    for epoch in (0, 1):
        freezing.apply(epoch)
        assert_trains_alike(model, images(20), run)
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_networks_of_timm(name, checkpointing):
    model = timm.create_model(name, num_classes=5)
    model.set_grad_checkpointing(checkpointing)
    freezing = freeze(
        model, "finetune.freeze=stages", "finetune.freeze_stages=1", "finetune.head_epochs=1"
    )
    size = model.pretrained_cfg["input_size"][-1]
    images = torch.randn(2, 3, size, size)
    for epoch, frozen in ((0, freezing.at_first), (1, freezing.always)):
        freezing.apply(epoch)
        before = copy.deepcopy(model.state_dict())
        grads = gradients(model, images)
        assert grads.keys() == {n for n, _ in model.named_parameters()} - frozen
        after = model.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in frozen & after.keys())
