"""A value that is not finite is named where it arises: input, forward, backward, optimizer."""

import math

import pytest
import torch
from torch import nn

from rednet.build.training import build_trainer
from rednet.config import compose
from rednet.debugging.nan import NamingPolicy, NonFiniteFound, _look_at_evaluation
from rednet.runtime import Runtime
from rednet.training.nonfinite import NonFiniteError
from rednet.training.step import TrainStep

TINY = [
    *("experiment=smoke", "data.image_size=12", "data.train_samples=16", "data.val_samples=8"),
    *("data.batch_size=8", "schedule.epochs=2"),
]
LAYER = "layer3.0.conv2"


class Root(nn.Module):
    """The square root, whose derivative at 0 is infinite."""

    def forward(self, x):
        return x + (0 * x).sqrt()


class Overflow(nn.Module):
    def forward(self, x):
        return x * 1e38 * 1e38


@pytest.fixture
def trainer(tmp_path):
    trainer = build_trainer(compose("train", TINY), Runtime(), tmp_path)
    trainer.nonfinite = NamingPolicy(trainer)
    return trainer


def report(trainer):
    with pytest.raises(NonFiniteFound) as caught:
        trainer.fit()
    lines = str(caught.value).split("\n")
    assert lines[-1].startswith("first value that is not finite: ")
    return lines[0], lines[-1].removeprefix("first value that is not finite: ")


def test_an_image_is_named(trainer, monkeypatch):
    step = TrainStep.__call__

    def poisoned(self, batches, lr, counts):
        batches[0].images[3, 0, 2, 2] = math.nan
        return step(self, batches, lr, counts)

    monkeypatch.setattr(TrainStep, "__call__", poisoned)
    where, what = report(trainer)
    (file,) = (trainer.log.folder / "nonfinite").iterdir()
    content = torch.load(file, weights_only=True)
    assert where.startswith("step 1 (learning rate 0.05): the loss is nan")
    name = content["names"][3]
    assert what == (
        f"the input: images (8, 1, 12, 12) with 1 nan among 1152 values, in 1 image of 8: {name}"
    )
    assert content["batches"][0]["images"].isnan().sum() == 1
    assert {"state_dict", "optimizer", "rng", "seed"} <= content.keys()


def test_a_weight_and_its_layer_are_named(trainer):
    with torch.no_grad():
        trainer.model.get_submodule(LAYER).conv2.conv.weight[0] = math.inf
    with pytest.raises(NonFiniteFound) as caught:
        trainer.fit()
    _, weights, layer = str(caught.value).split("\n")
    assert weights == (
        "not finite before the step, in the weights that the run starts from: "
        f"parameter {LAYER}.conv2.conv.weight"
    )
    assert f"forward pass of {LAYER}.conv2.conv (" in layer
    assert "its own weight is not finite" in layer


def test_a_layer_that_overflows_is_named(trainer):
    trainer.model.layer2[0].act1 = Overflow()
    _, what = report(trainer)
    assert what.startswith("forward pass of layer2.0.act1 (Overflow): its output (8, ")
    assert "while its inputs are finite, up to " in what


def test_an_operation_between_layers_is_named(trainer, monkeypatch):
    forward = trainer.model.layer2[0].forward
    trainer.model.layer2[0].forward = lambda x: forward(x) / 0
    _, what = report(trainer)
    assert what.startswith("forward pass of layer2.0 (")
    assert "it arises between its layers" in what


def test_a_backward_pass_is_named_with_the_line_of_the_code(trainer):
    trainer.model.layer2[0].act1 = Root()
    where, what = report(trainer)
    assert "the gradient norm is " in where
    assert what.startswith("backward pass of layer2.0.act1: ")
    assert "SqrtBackward0 makes a gradient (8, " in what
    assert "test_nan.py" in what
    assert what.endswith("return x + (0 * x).sqrt()")


def test_the_optimizer_is_named(trainer):
    optimizer = trainer.train_step.optimizer
    optimizer.register_step_post_hook(
        lambda *_: trainer.model.fc.weight.data.__setitem__(0, math.nan)
    )
    where, what = report(trainer)
    assert where.startswith("step 1 (learning rate 0.05): loss ")
    assert where.endswith(" are finite")
    assert what == f"made by the optimizer ({type(optimizer).__name__}): parameter fc.weight"


def test_statistics_are_named(trainer):
    norm = trainer.model.layer2[0].bn1
    trainer.train_step.optimizer.register_step_post_hook(
        lambda *_: norm.running_var.fill_(math.inf)
    )
    _, what = report(trainer)
    assert what == "made by the forward pass: buffer layer2.0.bn1.running_var"


def test_a_value_that_arises_in_evaluation_only_is_named(trainer):
    class Evaluated(nn.Module):
        def forward(self, x):
            return x if self.training else x / 0

    trainer.model.layer2[0].act1 = Evaluated()
    with pytest.raises(NonFiniteError, match="validation loss"):
        trainer.fit()
    (line,) = _look_at_evaluation(trainer)
    assert "forward pass" not in line
    assert "layer2.0.act1 (Evaluated): its output (8, " in line


def test_a_step_that_cannot_be_repeated_says_so(trainer, monkeypatch):
    loss, calls = trainer.train_step.loss_of, []

    def once(batch, model):
        calls.append(model)
        return loss(batch, model) * (math.nan if len(calls) == 1 else 1)

    monkeypatch.setattr(trainer.train_step, "loss_of", once)
    _, what = report(trainer)
    assert what.startswith("not found: computed again, layer by layer")


def test_the_watch_leaves_no_hook_and_buffers_as_they_were(trainer):
    trainer.model.layer2[0].act1 = Overflow()
    before = {name: buffer.clone() for name, buffer in trainer.model.named_buffers()}
    report(trainer)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trainer.model.modules())
    assert all(torch.equal(before[name], b) for name, b in trainer.model.named_buffers())
