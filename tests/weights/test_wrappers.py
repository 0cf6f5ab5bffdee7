"""Weights inside the wrappers of training programs, and the choice between several of them."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from rednet.errors import InputError
from rednet.weights import list_notes, load_weights, restore_model


def prefixed(prefix, weights):
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def plus_one(weights):
    return {name: tensor + 1 for name, tensor in weights.items()}


PREFIXES = [
    *("module.", "module.module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."),
    *("model.", "net.", "net._orig_mod.", "model.model.", "timm_model.", "0.", "a.b.c.d."),
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_that_all_names_share(prefix, saved, tiny, same_weights):
    checkpoint = saved(prefixed(prefix, tiny))
    same_weights(checkpoint.state_dict, tiny)
    assert (checkpoint.num_classes, checkpoint.kind) == (7, "state-dict")
    restore_model(checkpoint)


@pytest.mark.parametrize("prefix", ["model.", "module.", "model._orig_mod."])
def test_a_prefix_before_openmmlabs(prefix, saved, tiny, same_weights):
    names = {f"{'head' if key[:3] == 'fc.' else 'backbone'}.{key}": tiny[key] for key in tiny}
    checkpoint = saved({"state_dict": prefixed(prefix, names)})
    same_weights(checkpoint.state_dict, tiny)
    assert (checkpoint.kind, checkpoint.has_head) == ("openmmlab", True)


def test_wrappers_of_single_modules(saved, tiny, same_weights):
    names = [name.replace("layer1.0.", "layer1.0._orig_mod.") for name in tiny]
    names = [name.replace("layer2.", "layer2._checkpoint_wrapped_module.") for name in names]
    same_weights(saved(dict(zip(names, tiny.values(), strict=True))).state_dict, tiny)
    twice = {**tiny, **prefixed("_orig_mod.", tiny)}
    with pytest.raises(InputError, match="the same weights with and without the prefix of a wra"):
        saved(twice)


def test_a_lightning_module_with_more_than_the_network(saved, tiny, same_weights):
    more = {"criterion.weight": torch.ones(7), "train_top1.total": torch.tensor(3)}
    checkpoint = saved({"state_dict": {**prefixed("net.", tiny), **more}, "epoch": 3})
    same_weights(checkpoint.state_dict, tiny)
    assert checkpoint.dropped_parts == ("criterion", "train_top1")
    assert list_notes(checkpoint)[0] == (
        "weights: removes the prefix net.; leaves out criterion, train_top1"
    )


@pytest.mark.parametrize(
    "prefixes",
    [("model.", "model_ema.module."), ("online_model.", "ema_model."), ("net.", "net_ema.")],
)
def test_a_network_and_its_average_side_by_side(prefixes, saved, tiny, same_weights):
    plain, averaged = prefixes
    both = {**prefixed(plain, tiny), **prefixed(averaged, plus_one(tiny)), "step": torch.ones(1)}
    checkpoint = saved({"state_dict": both})
    same_weights(checkpoint.state_dict, plus_one(tiny))
    assert checkpoint.is_averaged
    assert plain[:-1] in list_notes(checkpoint)[0]


def test_networks_side_by_side_of_which_none_is_an_average(saved, tiny):
    both = {**prefixed("student.", tiny), **prefixed("teacher.", tiny)}
    with pytest.raises(InputError, match=r"several networks \(student., teacher.\): save the one"):
        saved(both)


def test_numbered_layers_belong_to_the_network(saved):
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    assert (
        saved(prefixed("layers.", layers)).state_dict.keys() == prefixed("layers.", layers).keys()
    )
    assert saved(prefixed("module.", layers)).state_dict.keys() == layers.keys()


@pytest.mark.parametrize("prefix", ["", "module.", "net._orig_mod."])
def test_a_prefix_that_belongs_to_the_network(prefix, saved):
    """As in timm's encoders for language models."""

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4)})

    trained, model = Encoder(), Encoder()
    assert load_weights(model, saved(prefixed(prefix, trained.state_dict()))) is None
    assert torch.equal(model.encoder["stem"].weight, trained.encoder["stem"].weight)


@pytest.mark.parametrize(
    "key", ["model", "state_dict", "net", "model_state_dict", "model_state", "network", "weights"]
)
def test_the_key_of_the_weights(key, saved, tiny, same_weights):
    checkpoint = saved({key: tiny, "optimizer": {"state": {}}, "epoch": 3, "loss": 0.5})
    same_weights(checkpoint.state_dict, tiny)
    assert (checkpoint.weights_key, checkpoint.is_averaged) == (key, False)
    assert list_notes(saved({"my_rednet": tiny, "rng": {"cpu": torch.ones(3, dtype=torch.uint8)}}))


@pytest.mark.parametrize(
    ("plain", "key"),
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("net", "ema"),
        ("model_state_dict", "ema_state_dict"),
        ("params", "params_ema"),
        ("other", "swa_model"),
    ],
)
def test_the_average_is_chosen_and_said(key, plain, saved, tiny, same_weights):
    checkpoint = saved({plain: tiny, key: plus_one(tiny), "epoch": 3})
    same_weights(checkpoint.state_dict, plus_one(tiny))
    assert (checkpoint.is_averaged, checkpoint.other_keys) == (True, (plain,))
    line = list_notes(checkpoint)[0]
    assert line == f"weights: uses {key}, averaged over training steps, not {plain}"


def test_an_average_inside_another_dict(saved, tiny, same_weights):
    content = {"model": tiny, "ema": {"module": plus_one(tiny), "decay": 0.999, "updates": 7}}
    checkpoint = saved(content)
    same_weights(checkpoint.state_dict, plus_one(tiny))
    assert checkpoint.weights_key == "ema.module"


def torchvisions(model, **attributes):
    """The file of torchvision's reference training, whose average wraps the network."""
    average = AveragedModel(model, use_buffers=True)
    average.update_parameters(model)
    if attributes.get("updates") == 0:
        average.n_averaged.zero_()
    for parameter in average.module.parameters():
        nn.init.ones_(parameter)
    args = {"lr_warmup_epochs": 5}
    return {
        "model": model.state_dict(),
        "optimizer": {},
        "lr_scheduler": {"last_epoch": 3},
        "epoch": 3,
        "args": args,
        "model_ema": average.state_dict(),
    }


def test_torchvisions_average(saved, make_tiny, same_weights):
    model = make_tiny()
    content = torchvisions(model)
    checkpoint = saved(content)
    assert checkpoint.state_dict.keys() == model.state_dict().keys()
    assert (checkpoint.state_dict["fc.weight"] == 1).all()
    assert (checkpoint.is_averaged, checkpoint.weights_key) == (True, "model_ema")
    assert saved(content["model_ema"]).is_averaged
    assert "n_averaged" not in saved(content["model_ema"]).state_dict


def test_an_average_that_was_never_updated_or_lacks_tensors(saved, make_tiny, same_weights):
    model = make_tiny()
    fresh = saved(torchvisions(model, updates=0))
    same_weights(fresh.state_dict, dict(model.state_dict()))
    assert (fresh.is_averaged, fresh.other_keys) == (False, ("model_ema",))
    parameters = dict(model.named_parameters())
    shadow = saved(
        {"model": model.state_dict(), "ema": {k: v.data + 1 for k, v in parameters.items()}}
    )
    same_weights(shadow.state_dict, dict(model.state_dict()))
    assert list_notes(shadow)[0] == "weights: uses model, not ema"


def test_mmengine_stores_the_average_as_the_state_dict(saved, tiny, same_weights):
    """Its hook swaps both before it saves."""
    raw = {"steps": torch.tensor(3), **prefixed("module.", plus_one(tiny))}
    meta = {"mmengine_version": "0.10.7", "epoch": 3}
    checkpoint = saved({"meta": meta, "state_dict": tiny, "ema_state_dict": raw})
    same_weights(checkpoint.state_dict, tiny)
    assert (checkpoint.is_averaged, checkpoint.weights_key) == (True, "state_dict")


@pytest.mark.parametrize("keys", [("student", "teacher"), ("ema_0.9", "ema_0.99"), ("a", "b")])
def test_several_sets_of_which_none_is_the_one(keys, saved, tiny):
    with pytest.raises(
        InputError, match=r"several sets of weights \(.*, .*\): save the one to use"
    ):
        saved(dict.fromkeys(keys, tiny))


def test_weights_that_are_no_numbers_are_said(saved, tiny):
    tiny["layer1.0.bn1.running_var"][0] = float("nan")
    tiny["fc.bias"][0] = float("inf")
    assert "warning: 2 tensors of the weights contain NaN or infinity" in list_notes(saved(tiny))
