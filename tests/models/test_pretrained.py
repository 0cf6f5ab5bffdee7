"""Weights of the original, through timm's own loading."""

import pytest
import timm
import torch

from rednet.models import checkpoint_filter_fn


@pytest.fixture
def original_file(make_tiny, tmp_path):
    """Returns a function that writes a network's weights as the original repository does."""

    def write(**options):
        model = make_tiny(num_classes=1000, **options).eval()
        prefixed = {
            f"{'head.' if key.startswith('fc.') else 'backbone.'}{key}": tensor
            for key, tensor in model.state_dict().items()
        }
        path = tmp_path / "rednet26-4948f75f.pth"
        meta = {"mmcls_version": "0.9.0", "epoch": 130, "CLASSES": ["tench", "goldfish"]}
        torch.save({"meta": meta, "state_dict": prefixed, "optimizer": {"state": {}}}, path)
        return model, path

    return write


def load(path, **options):
    options = {"width": 0.25, "layers": (1, 2, 1, 1), **options}
    overlay = {"file": str(path)}
    return timm.create_model("rednet26", pretrained=True, pretrained_cfg_overlay=overlay, **options)


@pytest.mark.parametrize("options", [{}, {"stem": "involution7"}, {"stem": "conv7"}])
def test_the_originals_file(options, original_file, images):
    model, path = original_file(**options)
    loaded = load(path, **options).eval()
    assert torch.equal(loaded(images()), model(images()))


def test_another_number_of_classes(original_file, images):
    model, path = original_file()
    loaded = load(path, num_classes=10).eval()
    assert loaded(images()).shape == (2, 10)
    assert torch.equal(loaded.forward_features(images()), model.forward_features(images()))
    assert loaded.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_without_classifier(original_file, images):
    model, path = original_file()
    loaded = load(path, num_classes=0).eval()
    expected = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert torch.equal(loaded(images()), expected)


def test_gray_images(original_file, images):
    model, path = original_file()
    loaded = load(path, in_chans=1).eval().double()
    gray = images(channels=1).double()
    as_colour = model.double()(gray.expand(-1, 3, -1, -1))
    error = (loaded(gray) - as_colour).abs().max()
    assert error < 1e-4 * as_colour.abs().max()


def test_features_of_the_originals_file(original_file, images):
    model, path = original_file()
    features = load(path, features_only=True, out_indices=(2, 4)).eval()(images())
    expected = model.forward_intermediates(images(), [2, 4], intermediates_only=True)
    assert all(map(torch.equal, features, expected))


def test_weights_of_another_network_are_refused(original_file):
    _, path = original_file()
    with pytest.raises(RuntimeError, match=r"Missing key.*layer4\.1\.conv1\.weight"):
        load(path, layers=(1, 2, 1, 2))


def test_the_prefixes_alone_are_taken_away():
    tensor = torch.ones(1)
    theirs = {
        "backbone.layer1.0.conv2.conv1.conv.weight": tensor,
        "head.fc.bias": tensor,
        "stem.0.conv.weight": tensor,
    }
    assert list(checkpoint_filter_fn(theirs, None)) == [
        "layer1.0.conv2.conv1.conv.weight",
        "fc.bias",
        "stem.0.conv.weight",
    ]


def test_a_file_of_safetensors(make_tiny, images, tmp_path):
    from safetensors.torch import save_file

    model = make_tiny(num_classes=1000).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path / "model.safetensors").eval()(images()), model(images()))


def test_saved_for_the_hub_and_loaded_from_a_folder(make_tiny, images, tmp_path):
    model = make_tiny().eval()
    options = {"width": 0.25, "layers": [1, 2, 1, 1]}
    timm.models.save_for_hf(model, tmp_path, model_args=options, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert torch.equal(loaded(images()), model(images()))
