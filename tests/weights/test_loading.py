"""Load weights into a network, or say in one line why they do not fit."""

import pytest
import timm
import torch

from rednet.errors import InputError
from rednet.weights import load_weights, merge_options, override_network, restore_model


def test_the_same_network(make_tiny, images, saved):
    model = make_tiny().eval()
    other = make_tiny(drop_rate=0.1).eval()
    torch.nn.init.zeros_(other.fc.weight)
    assert load_weights(other, saved(model.state_dict())) is None
    assert torch.equal(other(images()), model(images()))


def test_another_number_of_classes(make_tiny, saved):
    trained = make_tiny(num_classes=5)
    checkpoint = saved(trained.state_dict())
    with pytest.raises(InputError, match="classifier has 5 classes, the data 7: evaluate it"):
        load_weights(make_tiny(), checkpoint)
    model = make_tiny()
    head = model.fc.weight.clone()
    torch.nn.init.zeros_(model.layer1[0].conv1.weight)
    note = load_weights(model, checkpoint, new_head=True)
    assert "classifier has 5 classes, the data 7: the classifier is newly initialised" in note
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.layer1[0].conv1.weight, trained.layer1[0].conv1.weight)


def test_no_classifier(make_tiny, saved):
    trained = make_tiny(num_classes=0)
    checkpoint = saved(trained.state_dict())
    model = make_tiny()
    torch.nn.init.zeros_(model.layer1[0].conv1.weight)
    with pytest.raises(InputError, match=r"weights\.pt: has no classifier: train one first"):
        load_weights(model, checkpoint)
    assert not model.layer1[0].conv1.weight.any()
    note = load_weights(model, checkpoint, new_head=True)
    assert note.endswith("weights.pt: has no classifier: the classifier is newly initialised")
    assert torch.equal(model.layer1[0].conv1.weight, trained.layer1[0].conv1.weight)
    assert load_weights(make_tiny(num_classes=0), checkpoint) is None


def test_an_unexpected_classifier(make_tiny, saved):
    with pytest.raises(InputError, match=r"2 unexpected \(fc.bias, fc.weight\)"):
        load_weights(make_tiny(num_classes=0), saved(make_tiny().state_dict()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (1, 1, 1, 1)}, r"\d+ unexpected \(layer2.1.bn1.bias, .*, and \d+ more\)"),
        ({"layers": (2, 2, 1, 1)}, r"\d+ missing \(layer1.1.bn1.bias"),
        ({"width": 0.5}, r"\d+ of another shape \(fc.weight \(7, 512\), not \(7, 1024\)"),
        ({"width": 0.5, "num_classes": 9}, "of another shape"),
        ({"stem": "conv7"}, r"1 of another shape .*; it is for rednet50 \(width=0.25, layers="),
    ],
)
@pytest.mark.parametrize("new_head", [False, True])
def test_weights_of_another_network(options, message, new_head, make_tiny, saved):
    checkpoint = saved(make_tiny().state_dict())
    other = make_tiny(**options)
    before = other.fc.weight.clone()
    with pytest.raises(InputError, match=f"weights.pt: does not fit this network: .*{message}"):
        load_weights(other, checkpoint, new_head=new_head)
    assert torch.equal(other.fc.weight, before)


def test_weights_of_a_timm_network(saved):
    weights = timm.create_model("test_resnet").state_dict()
    checkpoint = saved(weights)
    model = timm.create_model("test_resnet")
    assert load_weights(model, checkpoint) is None
    assert torch.equal(model.fc.weight, weights["fc.weight"])
    with pytest.raises(InputError, match=r"does not fit this network: \d+ missing .*fc\.|conv1"):
        load_weights(timm.create_model("test_efficientnet"), checkpoint)
    wrong = override_network(checkpoint, "test_efficientnet", {})
    with pytest.raises(InputError, match=r"\); the file does not say which network it is for$"):
        restore_model(wrong)
    with pytest.raises(InputError, match="does not say which network it is for: add"):
        restore_model(checkpoint)


def test_options_that_do_not_exist(make_tiny, saved):
    content = {"model": {"name": "rednet26", "options": {"stem": "none"}}, "format": "rednet-2"}
    checkpoint = saved({**content, "state_dict": make_tiny().state_dict()})
    with pytest.raises(InputError, match=r"cannot build rednet26 \(stem=none\): no stem is named"):
        restore_model(checkpoint)


def test_name_and_options_of_a_network(make_tiny, saved):
    checkpoint = saved(make_tiny(layers=(1, 2, 4, 1)).state_dict())
    assert merge_options(checkpoint, "rednet26", {}) == {"width": 0.25}
    assert merge_options(checkpoint, "rednet26", {"width": 1, "stem": "small"}) == {
        "width": 1,
        "stem": "small",
    }
    with pytest.raises(InputError, match=r"is for rednet26 \(width=0.25\), not for rednet50$"):
        merge_options(checkpoint, "rednet50", {})
    assert merge_options(checkpoint, "rednet50", {"layers": [1, 2, 4, 1]})["width"] == 0.25
    with pytest.raises(InputError, match="not for resnet50"):
        merge_options(checkpoint, "resnet50", {})
    odd = saved(make_tiny().state_dict())
    assert merge_options(odd, "rednet38", {"layers": (1, 2, 1, 1)})["width"] == 0.25


def test_a_name_with_a_timm_tag(make_tiny, saved):
    model = {"name": "rednet26.paper_in1k", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}}
    checkpoint = saved({"model": model, "state_dict": make_tiny(num_classes=1000).state_dict()})
    assert merge_options(checkpoint, "rednet26", {}) == model["options"]
    assert merge_options(checkpoint, "rednet26.paper_in1k", {}) == model["options"]
    assert merge_options(checkpoint, "rednet38", {"layers": [1, 2, 1, 1]})["width"] == 0.25
    assert restore_model(checkpoint).num_classes == 1000


@pytest.mark.parametrize("name", ["hf-hub:foo/bar", "local-dir:/tmp", "no\nsuch"])
def test_names_that_timm_does_not_have(name, make_tiny, saved):
    model = {"name": name, "options": {}}
    checkpoint = saved({"model": model, "state_dict": make_tiny().state_dict()})
    with pytest.raises(InputError, match=r"weights\.pt: timm has no model named [^\n]*$"):
        restore_model(checkpoint)


def test_a_giant_network_is_not_built(make_tiny, saved):
    model = {"name": "rednet26", "options": {"width": 5000.0, "layers": [1, 2, 1, 1]}}
    checkpoint = saved({"model": model, "state_dict": make_tiny().state_dict()})
    with pytest.raises(InputError, match=r"cannot build .* it would take"):
        restore_model(checkpoint)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.bool])
def test_numbers_that_are_not_weights(dtype, make_tiny, saved):
    weights = make_tiny().state_dict()
    weights["fc.bias"] = torch.ones(7, dtype=dtype)
    with pytest.raises(InputError, match=rf"1 of another type \(fc.bias {dtype}\)"):
        load_weights(make_tiny(), saved(weights))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_numbers_of_another_precision(dtype, make_tiny, saved):
    model = make_tiny()
    weights = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    other = restore_model(saved(weights))
    assert other.fc.bias.dtype == torch.float32
    assert torch.equal(other.fc.weight, model.fc.weight.to(dtype).float())


def test_keys_are_printed_without_control_characters(make_tiny, saved):
    weights = {**make_tiny().state_dict(), "evil\n\x1b[31mkey": torch.ones(1)}
    with pytest.raises(InputError) as caught:
        restore_model(saved(weights))
    assert r"1 unexpected (evil\n\x1b[31mkey)" in str(caught.value)
