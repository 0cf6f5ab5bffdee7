"""What the keys of fine-tuning say about the optimizer, the weights of classes and a run."""

import json

import pytest
import timm
import torch
from run_plan import save_images
from timm.optim import param_groups_layer_decay
from torch import nn

from rednet.build.data import build_splits
from rednet.build.finetuning import build_freezing, classifier_tensors
from rednet.build.losses import build_class_weights, build_loss
from rednet.build.optimizer import build_optimizer
from rednet.config import ConfigError, compose
from rednet.errors import InputError
from rednet.runtime import Runtime

SGD = ["optimizer=sgd", "schedule.epochs=9"]


def optimizer(model, *overrides):
    return build_optimizer(compose("train", [*SGD, *overrides]).optimizer, model, lr=0.1)


def scales(model, found):
    """The factor of each parameter's learning rate, by its name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: group.get("lr_scale", 1.0)
        for group in found.param_groups
        for parameter in group["params"]
    }


def freeze(model, *overrides, keys=()):
    return build_freezing(compose("train", [*SGD, *overrides]), model, set(keys))


@pytest.mark.parametrize("decay_all", [True, False])
def test_layer_decay_is_timms(decay_all, make_tiny):
    model = make_tiny()
    found = optimizer(model, "optimizer.layer_decay=0.7", f"optimizer.decay_all={decay_all}")
    timms = param_groups_layer_decay(
        model, weight_decay=1e-4, layer_decay=0.7, weight_decay_exclude_1d=not decay_all
    )
    assert len(found.param_groups) == len(timms)
    for ours, theirs in zip(found.param_groups, timms, strict=True):
        assert [id(p) for p in ours["params"]] == [id(p) for p in theirs["params"]]
        assert {k: ours[k] for k in ("lr_scale", "weight_decay")} == {
            k: theirs[k] for k in ("lr_scale", "weight_decay")
        }
    by_name = scales(model, found)
    assert by_name["fc.weight"] == 1
    assert by_name["layer2.1.bn1.weight"] == pytest.approx(0.7**3)  # two blocks follow
    assert by_name["layer2.0.bn1.weight"] == pytest.approx(0.7**4)
    assert by_name["stem.0.conv.weight"] == pytest.approx(0.7**6)


def test_the_backbones_rate_is_scaled_on_top_of_it(make_tiny):
    model = make_tiny()
    plain = scales(model, optimizer(model, "optimizer.layer_decay=0.7"))
    both = scales(
        model, optimizer(model, "optimizer.layer_decay=0.7", "optimizer.backbone_lr_scale=0.1")
    )
    assert both.keys() == plain.keys() == {name for name, _ in model.named_parameters()}
    for name, scale in both.items():
        factor = 1 if name.startswith("fc.") else 0.1
        assert scale == pytest.approx(plain[name] * factor)


def test_the_optimizer_has_what_trains(make_tiny):
    model = make_tiny()
    freeze(model, "finetune.freeze=stages", "finetune.freeze_stages=3", "finetune.head_epochs=2")
    assert {name.partition(".")[0] for name in scales(model, optimizer(model))} == {"layer4", "fc"}


def test_two_classifiers():
    model = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=4)
    freeze(model, "finetune.freeze=backbone")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        f"{head}.{kind}" for head in ("head", "head_dist") for kind in ("weight", "bias")
    }
    assert trained == classifier_tensors(model)


class Nameless(nn.Module):
    """A network that says nothing about itself."""

    def __init__(self, **pretrained_cfg):
        super().__init__()
        self.pretrained_cfg = pretrained_cfg
        self.body, self.fc = nn.Linear(2, 2), nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("cfg", "overrides", "message"),
    [
        ({}, "finetune.freeze=backbone", "Nameless does not say which of its layers is the class"),
        ({}, "finetune.head_epochs=1", "Nameless does not say which of its layers is the class"),
        ({"classifier": "fc"}, "finetune.freeze=stages", "Nameless does not say which stages it"),
    ],
)
def test_networks_that_do_not_say_enough(cfg, overrides, message):
    with pytest.raises(InputError, match=message):
        freeze(Nameless(**cfg), overrides)


def test_groups_that_a_network_does_not_say():
    with pytest.raises(InputError, match="layer_decay: Nameless does not say which layers it has"):
        optimizer(Nameless(classifier="fc"), "optimizer.layer_decay=0.5")
    with pytest.raises(InputError, match="Nameless does not say which of its layers is the class"):
        optimizer(Nameless(), "optimizer.backbone_lr_scale=0.5")


@pytest.mark.parametrize(
    ("network", "overrides", "message"),
    [
        (
            {},
            "finetune.freeze=stages finetune.freeze_stages=5",
            "freeze_stages=5: the network has 4 stages",
        ),
        (
            {},
            "finetune.freeze=backbone finetune.batch_norm=freeze",
            "freeze=backbone freezes all of it",
        ),
        ({}, "finetune.batch_norm=train", "freeze=none freezes none of it"),
        (
            {},
            "finetune.freeze=stages finetune.freeze_stages=4 optimizer.layer_decay=0.5",
            "layer_decay: has no effect with finetune.freeze_stages=4, which trains the classifier",
        ),
        (
            {},
            "finetune.freeze=stages finetune.freeze_stages=4 finetune.head_epochs=1",
            "head_epochs: has no effect with finetune.freeze_stages=4, which never trains the rest",
        ),
        (
            {"norm_layer": "groupnorm1"},
            "finetune.batch_norm=freeze",
            "the network has no batch norm",
        ),
        (
            {},
            "finetune.batch_norm=freeze trainer.sync_bn=true",
            "sync_bn: has no effect, all batch",
        ),
    ],
)
def test_what_a_network_leaves_without_effect(network, overrides, message, make_tiny):
    words = overrides.split()
    keys = [word.partition("=")[0] for word in words]
    with pytest.raises(InputError, match=message):
        freeze(make_tiny(**network), *words, keys=keys)


# Class weights


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight images of one class, two of the next."""
    root = tmp_path_factory.mktemp("images")
    save_images(root / "train", ["no"], 8)
    save_images(root / "more", ["yes"], 2)
    (root / "more/yes").rename(root / "train/yes")
    save_images(root / "val", ["no", "yes"], 1)
    return root


def weights(images, *overrides):
    config = compose("train", ["data=image_folder", f"data.root={images}", *overrides])
    source = build_splits(config.data, 0).train
    balanced = config.data.sampler == "balanced"
    return build_class_weights(config.loss, source, is_balanced=balanced).tolist()


def test_balanced_weights_are_inverse_frequencies(images):
    assert weights(images, "loss.class_weights=balanced") == pytest.approx([10 / 16, 10 / 4])


@pytest.mark.parametrize("name", ["weights.json", "weights.yaml"])
def test_given_weights_have_a_mean_of_one_over_what_is_seen(name, images, tmp_path):
    text = "no: 1\nyes: 3" if name.endswith("yaml") else json.dumps({"yes": 3, "no": 1})
    (tmp_path / name).write_text(text)
    expected = pytest.approx([1 / 1.4, 3 / 1.4])
    assert weights(images, "loss.class_weights=[1,3]") == expected
    assert weights(images, f"loss.class_weights={tmp_path / name}") == expected
    assert weights(images, "loss.class_weights=[1,3]", "data.sampler=balanced") == pytest.approx(
        [0.5, 1.5]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no: 1", "has no weight for yes"),
        ("{no: 1, yes: 2, maybe: 3}", "the data has no class maybe"),
        ("{no: 1, yes: many}", "the weight of yes must be a number greater than 0, got many"),
        ("{no: 1, yes: -2}", "the weight of yes must be a number greater than 0, got -2"),
        ("{no: 1, yes: .inf}", "the weight of yes must be a number greater than 0, got .inf"),
        ("[1, 2]", "has no lines class: weight"),
        ("{no: [", "not a YAML or JSON file"),
        (None, "No such file or directory"),
    ],
)
def test_wrong_files_of_weights(content, message, images, tmp_path):
    path = tmp_path / "weights.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as error:
        weights(images, f"loss.class_weights={path}")
    assert str(error.value) == f"loss.class_weights={path}: {message}"


def test_a_wrong_number_of_weights(images):
    with pytest.raises(InputError, match="3 weights, but the data has 2 classes: no, yes"):
        weights(images, "loss.class_weights=[1,2,3]")


def loss(*overrides):
    config = compose("train", ["experiment=smoke", "data.train_samples=20", *overrides])
    keys = {override.partition("=")[0] for override in overrides}
    return build_loss(config, build_splits(config.data, 0).train, keys, Runtime())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            "data.sampler=balanced",
            "data.sampler=balanced: has no effect, all classes have 2 training",
        ),
        (
            "loss.class_weights=balanced",
            "weights=balanced: has no effect, all classes have 2 training",
        ),
        ("loss.class_weights=[2,2,2,2,2,2,2,2,2,2]", "weights: has no effect, all weights are eq"),
        (
            "loss=bce augment.label_smoothing=0.1",
            "label_smoothing: has no effect with loss.target_th",
        ),
        (
            "loss=bce loss.target_threshold=0.92 augment.label_smoothing=0.1",
            "at least 0.01, .* below 0.91",
        ),
        (
            "loss=bce loss.target_threshold=0.001 augment.label_smoothing=0.1",
            "at least 0.01, .* below 0.91",
        ),
    ],
)
def test_settings_of_the_loss_without_effect(overrides, message):
    with pytest.raises((InputError, ConfigError), match=message):
        loss(*overrides.split())


def test_settings_of_the_loss_with_an_effect():
    blended = loss("loss=bce", "augment.label_smoothing=0.1", "augment.mixup=0.2")
    assert (blended.label_smoothing, blended.target_threshold) == (0.1, 0.2)
    assert torch.isfinite(blended(torch.zeros(1, 10), torch.tensor([3])))
