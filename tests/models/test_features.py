"""Feature maps: features_only, forward_intermediates, output strides."""

import pytest
import torch

STEMS = ["involution3", "involution7", "conv7", "small"]


def strides(stem, output_stride):
    """Return image size divided by output size of the stem and the stages."""
    first = [1, 1, 2, 4, 8] if stem == "small" else [2, 4, 8, 16, 32]
    return [min(stride, output_stride) for stride in first]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("stem", STEMS)
def test_channels_and_reductions_are_right(stem, output_stride, make_tiny, images):
    options = {"stem": stem, "output_stride": output_stride}
    model = make_tiny(features_only=True, **options).eval()
    assert model.feature_info.channels() == [16, 64, 128, 256, 512]
    assert model.feature_info.reduction() == strides(stem, output_stride)
    features = model(images(64, 32))
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (info["num_chs"], 64 // info["reduction"], 32 // info["reduction"])
        for info in model.feature_info.get_dicts()
    ]
    intermediates = make_tiny(**options).eval().forward_intermediates(images(64, 32))[1]
    assert all(map(torch.equal, features, intermediates))


@pytest.mark.parametrize("indices", [(1,), (0, 4), (2, 3), (-1,), (-2, -1), 2])
@pytest.mark.parametrize("feature_cls", ["list", "getter", "hook"])
def test_any_choice_of_features(feature_cls, indices, make_tiny, images):
    model = make_tiny(features_only=True, out_indices=indices, feature_cls=feature_cls).eval()
    everything = make_tiny().eval().forward_intermediates(images())[1]
    chosen = everything[-indices:] if isinstance(indices, int) else [everything[i] for i in indices]
    features = model(images())
    assert len(features) == len(chosen)
    assert all(torch.equal(*both) for both in zip(features, chosen, strict=True))
    assert model.feature_info.channels() == [feature.shape[1] for feature in chosen]


def test_features_train_with_checkpointing(make_tiny, images):
    gradients = []
    for enable in (False, True):
        model = make_tiny(features_only=True).train()
        model.set_grad_checkpointing(enable)
        sum(feature.square().mean() for feature in model(images())).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_features_have_no_classifier(make_tiny):
    names = [name for name, _ in make_tiny(features_only=True).named_parameters()]
    assert not any(name.startswith(("fc", "global_pool")) for name in names)
    shallow = make_tiny(features_only=True, out_indices=(1,))
    assert not any(name.startswith("layer2") for name, _ in shallow.named_parameters())


def test_all_intermediates(make_tiny, images):
    model = make_tiny().eval()
    last, intermediates = model.forward_intermediates(images())
    assert torch.equal(last, model.forward_features(images()))
    assert len(intermediates) == 5
    assert torch.equal(last, intermediates[-1])
    alone = model.forward_intermediates(images(), intermediates_only=True)
    assert all(map(torch.equal, alone, intermediates))


@pytest.mark.parametrize(("indices", "expected"), [(2, [3, 4]), ([1, 3], [1, 3]), ([-4], [1])])
def test_some_intermediates(indices, expected, make_tiny, images):
    model = make_tiny().eval()
    everything = model.forward_intermediates(images())[1]
    last, some = model.forward_intermediates(images(), indices=indices)
    assert all(
        torch.equal(*both) for both in zip(some, [everything[i] for i in expected], strict=True)
    )
    assert torch.equal(last, everything[-1])


def test_stopping_early_runs_no_later_stage(make_tiny, images):
    model = make_tiny().eval()
    ran = []
    for name in ("layer1", "layer2", "layer3", "layer4"):
        getattr(model, name).register_forward_hook(lambda *_, name=name: ran.append(name))
    last, (only,) = model.forward_intermediates(images(), indices=[2], stop_early=True)
    assert ran == ["layer1", "layer2"]
    assert torch.equal(last, only)


@pytest.mark.parametrize("indices", [[5], [-6], 6, 0])
def test_intermediates_that_do_not_exist(indices, make_tiny, images):
    with pytest.raises(AssertionError, match="out of range"):
        make_tiny().forward_intermediates(images(), indices=indices)


def test_another_format_of_intermediates_is_refused(make_tiny, images):
    with pytest.raises(ValueError, match="'NCHW', got 'NLC'"):
        make_tiny().forward_intermediates(images(), output_fmt="NLC")


@pytest.mark.parametrize(
    ("output_stride", "dilations"),
    [(32, [1, 1, 1, 1, 1, 1]), (16, [1, 1, 1, 1, 1, 2]), (8, [1, 1, 1, 2, 2, 4])],
)
def test_dilation_replaces_stride(output_stride, dilations, make_tiny):
    model = make_tiny(output_stride=output_stride, layers=(1, 1, 2, 2))
    blocks = [block for stage in range(1, 5) for block in getattr(model, f"layer{stage}")]
    assert [block.conv2.window.dilation for block in blocks] == dilations
