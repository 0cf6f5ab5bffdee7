"""What timm and its tools expect from a model."""

import copy
import inspect

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn

from rednet.registry import default_cfgs

DEPTHS = (26, 38, 50, 101, 152)


def test_an_entry_point_for_every_depth():
    assert timm.list_models("rednet*", module="registry") == [f"rednet{d}" for d in DEPTHS]
    for depth in DEPTHS:
        assert timm.is_model(f"rednet{depth}")
        signature = inspect.signature(timm.model_entrypoint(f"rednet{depth}"))
        assert list(signature.parameters) == ["pretrained", "kwargs"]
        assert "paper_in1k" in default_cfgs[f"rednet{depth}"].cfgs


def test_the_tag_may_be_named():
    model = timm.create_model("rednet26.paper_in1k", width=0.25)
    assert model.pretrained_cfg["architecture"] == "rednet26"


@pytest.mark.parametrize("stem", ["involution3", "involution7", "conv7", "small"])
def test_features_and_head_make_the_whole(stem, make_tiny, images):
    model = make_tiny(stem=stem).eval()
    features = model.forward_features(images())
    reduction = 8 if stem == "small" else 32
    assert features.shape == (2, model.num_features, 32 // reduction, 32 // reduction)
    before = model.forward_head(features, pre_logits=True)
    assert before.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(before), model(images()))
    assert torch.equal(model.forward_head(features), model(images()))


def test_the_registered_sizes_are_right():
    model = timm.create_model("rednet26").eval()
    cfg = model.pretrained_cfg
    with torch.no_grad():
        features = model.forward_features(torch.randn(1, *cfg["input_size"]))
    assert features.shape == (1, 2048, *cfg["pool_size"])
    assert (model.num_features, model.head_hidden_size) == (2048, 2048)
    assert model.forward_head(features).shape == (1, cfg["num_classes"])
    names = model.state_dict().keys()
    assert {f"{cfg['first_conv']}.weight", f"{cfg['classifier']}.weight"} <= names


def test_the_classifier_may_be_reset(make_tiny, images):
    model = make_tiny().eval()
    pooled = model.forward_head(model.forward_features(images()), pre_logits=True)

    model.reset_classifier(0)
    assert (model.num_classes, type(model.get_classifier())) == (0, nn.Identity)
    assert torch.equal(model(images()), pooled)

    model.reset_classifier(5)
    assert model(images()).shape == (2, 5)
    assert list(model.named_parameters())[-1][0] == "fc.bias"

    model.reset_classifier(0, "")
    assert model(images()).shape == (2, model.num_features, 1, 1)

    model.reset_classifier(4, "catavgmax")
    assert model.head_hidden_size == 2 * model.num_features
    assert model(images()).shape == (2, 4)
    model.reset_classifier(3)
    assert model.fc.weight.shape == (3, model.head_hidden_size)


@pytest.mark.parametrize("pooling", ["avg", "max", "avgmax", "catavgmax", "fast", "fastavg"])
def test_every_pooling(pooling, make_tiny, images):
    model = make_tiny(global_pool=pooling).eval()
    assert model(images(40)).shape == (2, 7)
    with_none = make_tiny(global_pool=pooling, num_classes=0).eval()
    assert with_none(images(40)).shape == (2, with_none.head_hidden_size)


def test_without_pooling_and_classifier(make_tiny, images):
    model = make_tiny(num_classes=0, global_pool="").eval()
    assert torch.equal(model(images(64)), model.forward_features(images(64)))


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("stem", ["involution3", "conv7"])
def test_any_number_of_image_channels(channels, stem, make_tiny, images):
    model = make_tiny(in_chans=channels, stem=stem).eval()
    assert model.in_chans == channels
    assert model(images(channels=channels)).shape == (2, 7)


def test_dropout_acts_before_the_classifier_only_in_training(make_tiny, images):
    model = make_tiny(drop_rate=0.5)
    features = torch.rand(2, model.num_features, 2, 2) + 1
    zeros = (model.train().forward_head(features, pre_logits=True) == 0).float().mean()
    assert 0.4 < zeros < 0.6
    assert (model.eval().forward_head(features, pre_logits=True) > 0).all()


def test_stochastic_depth_rises_linearly(make_tiny):
    model = make_tiny(drop_path_rate=0.4)
    rates = [
        getattr(block.drop_path, "drop_prob", 0.0)
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4)
        for block in stage
    ]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    single = make_tiny(drop_path_rate=0.0)
    assert all(isinstance(b.drop_path, nn.Identity) for b in (*single.layer2, *single.layer4))


def test_a_dropped_block_is_its_shortcut(make_tiny, images):
    model = make_tiny(drop_path_rate=0.4)
    block = model.layer2[1]
    block.drop_path.drop_prob = 1 - 1e-9
    x = torch.rand(2, 128, 5, 5)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)


@pytest.mark.parametrize("stem", ["involution3", "conv7"])
def test_layer_decay_covers_every_parameter(stem, make_tiny):
    model = make_tiny(stem=stem)
    groups = param_groups_layer_decay(model, weight_decay=0.1, layer_decay=0.5)
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    order = ["stem.0.conv", "layer1.0.conv1", "layer2.0.conv1", "layer2.1.conv2.conv1.conv"]
    order += ["layer3.0.conv3", "layer4.0.conv1", "fc"]
    rising = [scales[id(model.get_parameter(f"{name}.weight"))] for name in order]
    assert rising == [0.5**power for power in (6, 5, 4, 3, 2, 1, 0)]


def test_coarse_groups_are_the_stages(make_tiny):
    model = make_tiny()
    layers = timm.models.group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert set(layers.values()) == set(range(6))
    assert {layers[name] for name in layers if name.startswith("layer2.")} == {2}
    assert (layers["stem.4.conv.weight"], layers["fc.bias"]) == (0, 5)


def test_timms_optimizers_accept_it(make_tiny):
    model = make_tiny()
    assert model.no_weight_decay() == set()
    optimizer = create_optimizer_v2(model, "sgd", lr=0.1, layer_decay=0.75, weight_decay=1e-4)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(model.parameters())
    )


def test_copied_pickled_and_averaged(make_tiny, images, tmp_path):
    model = make_tiny().eval()
    expected = model(images())
    torch.save(model, tmp_path / "whole.pt")
    for other in (
        copy.deepcopy(model),
        torch.load(tmp_path / "whole.pt", weights_only=False),
        timm.utils.ModelEmaV3(model).module.eval(),
    ):
        assert torch.equal(other(images()), expected)


def test_reparametrised_by_timms_helpers(make_tiny, images):
    model = make_tiny().eval()
    expected = model(images())
    frozen = timm.layers.freeze_batch_norm_2d(copy.deepcopy(model))
    torch.testing.assert_close(frozen(images()), expected)
    synced = timm.layers.convert_sync_batchnorm(copy.deepcopy(model)).eval()
    assert not any(type(module) is nn.BatchNorm2d for module in synced.modules())
