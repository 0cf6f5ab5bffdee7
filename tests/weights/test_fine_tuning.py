"""Start training from a file: classes and channels are the data's, and nothing is silent."""

import pytest
import timm
import torch

from rednet.errors import InputError
from rednet.weights import override_network, read_checkpoint, start_from

NAMES = list("abcdefg")
KEPT = "its classifier is kept: it names no classes; they must be the data's, in the same order"


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves weights, with names of classes if there are any."""

    def save(weights, names=None, **options):
        content = weights
        if names:
            model = {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}}
            content = {"format": "rednet-2", "model": model, "class_names": names}
            content["state_dict"] = weights
        torch.save(content, tmp_path / "file.pt")
        return read_checkpoint(tmp_path / "file.pt")

    return save


def test_the_same_classes(make_tiny, images, saved):
    trained, model = make_tiny().eval(), make_tiny(drop_rate=0.1).eval()
    torch.nn.init.zeros_(model.fc.weight)
    assert start_from(model, saved(trained.state_dict(), NAMES), NAMES) == []
    assert torch.equal(model(images()), trained(images()))


def test_classes_in_another_order(make_tiny, images, saved):
    trained, model = make_tiny().eval(), make_tiny().eval()
    (note,) = start_from(model, saved(trained.state_dict(), NAMES), NAMES[::-1])
    assert note == "its classes are the data's in another order: the classifier is reordered"
    # Not equal: a product may sum in an order that depends on the column.
    torch.testing.assert_close(model(images()), trained(images()).flip(1))


@pytest.mark.parametrize("others", [[*"abcdef", "z"], list("tuvwxyz")])
def test_other_classes_of_the_same_number(others, make_tiny, saved):
    trained, model = make_tiny(), make_tiny()
    torch.nn.init.ones_(trained.fc.weight)
    head = model.fc.weight.clone()
    (note,) = start_from(model, saved(trained.state_dict(), NAMES), others)
    assert note == "its classes are not the data's: the classifier is newly initialised"
    assert torch.equal(model.fc.weight, head)


def test_classes_without_names(make_tiny, saved):
    trained = make_tiny()
    assert start_from(make_tiny(), saved(trained.state_dict()), NAMES) == [KEPT]
    (note,) = start_from(make_tiny(num_classes=3), saved(trained.state_dict()), NAMES[:3])
    assert note == "its classifier has 7 classes, the data 3: the classifier is newly initialised"
    headless = saved(make_tiny(num_classes=0).state_dict())
    (note,) = start_from(make_tiny(), headless, NAMES)
    assert note == "has no classifier: the classifier is newly initialised"


@pytest.mark.parametrize(("theirs", "ours"), [(3, 1), (1, 3), (4, 3), (3, 4), (4, 1)])
def test_image_channels_are_adapted_as_timm_does(theirs, ours, make_tiny, saved):
    trained, model = make_tiny(in_chans=theirs), make_tiny(in_chans=ours)
    notes = start_from(model, saved(trained.state_dict(), NAMES), NAMES)
    assert notes == [f"stem.0.conv is adapted from {theirs} to {ours} image channels"]
    expected = timm.models.adapt_input_conv(ours, trained.stem[0].conv.weight, theirs)
    assert torch.equal(model.stem[0].conv.weight, expected)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_convnext"])
def test_channels_and_classes_of_timms_networks(name, saved):
    trained = timm.create_model(name, num_classes=7)
    model = timm.create_model(name, num_classes=3, in_chans=1)
    adapted, head = start_from(model, saved(trained.state_dict()), NAMES[:3])
    assert adapted.endswith("is adapted from 3 to 1 image channels")
    assert head == "its classifier has 7 classes, the data 3: the classifier is newly initialised"


def test_a_network_of_other_shapes_is_not_adapted(make_tiny, saved):
    with pytest.raises(InputError, match="of another shape"):
        start_from(make_tiny(width=0.5, in_chans=1), saved(make_tiny().state_dict()), NAMES)
    with pytest.raises(InputError, match=r"1 missing \(layer1.0.bn1.bias\)"):
        weights = make_tiny().state_dict()
        del weights["layer1.0.bn1.bias"]
        start_from(make_tiny(num_classes=3), saved(weights), NAMES[:3])


@pytest.mark.parametrize("option", ["stem", "act_layer"])
def test_options_that_the_file_knows_and_tensors_do_not_show(option, make_tiny, saved):
    ours = saved(make_tiny().state_dict(), NAMES)
    other = {"stem": "small", "act_layer": "silu"}[option]
    with pytest.raises(InputError, match=rf"is for rednet26 \(.*\), not for {option}={other}$"):
        override_network(ours, "rednet26", {option: other})
    same = {"stem": "involution3", "act_layer": "relu"}[option]
    assert override_network(ours, "rednet26", {option: same}).model["options"][option] == same
    foreign = saved(make_tiny().state_dict())
    assert override_network(foreign, "rednet50", {option: other}).model["options"][option] == other
