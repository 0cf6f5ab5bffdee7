"""Image sizes that no stride divides, and layouts."""

from math import ceil

import pytest
import timm
import torch


@pytest.mark.parametrize("stem", ["involution3", "involution7", "conv7", "small"])
@pytest.mark.parametrize("size", [(97, 97), (33, 65), (1, 1), (31, 2)])
def test_odd_sizes_train(size, stem, make_tiny, images):
    model = make_tiny(stem=stem, norm_layer="groupnorm1")
    x = images(*size).requires_grad_()
    last, maps = model.forward_intermediates(x)
    for feature, info in zip(maps, model.feature_info, strict=True):
        assert feature.shape[2:] == tuple(ceil(side / info["reduction"]) for side in size)
    model.forward_head(last).square().sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("size", [225, 200, 97])
def test_the_whole_rednet_at_odd_sizes(size):
    model = timm.create_model("rednet26")
    logits = model.train()(torch.randn(2, 3, size, size))
    logits.logsumexp(1).sum().backward()
    assert logits.shape == (2, 1000)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_odd_sizes_with_dilation(output_stride, make_tiny, images):
    model = make_tiny(output_stride=output_stride).eval()
    features = model.forward_features(images(97, 50))
    assert features.shape[2:] == (ceil(97 / output_stride), ceil(50 / output_stride))


@pytest.mark.parametrize(
    "depth", [26, 38, *(pytest.param(depth, marks=pytest.mark.nightly) for depth in (50, 101, 152))]
)
def test_every_depth_trains_at_225(depth):
    model = timm.create_model(f"rednet{depth}").train()
    logits = model(torch.randn(2, 3, 225, 225))
    logits.logsumexp(1).sum().backward()
    assert logits.shape == (2, 1000)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_an_image_gives_the_same_alone_or_in_a_batch(make_tiny, images):
    model = make_tiny().eval().double()
    x = images(37, 50, batch=3).double()
    alone = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(model(x), alone)


def test_channels_last_gives_the_same(make_tiny, images):
    model = make_tiny().eval().double()
    x = images(37, 50).double()
    expected = model(x)
    features = model.to(memory_format=torch.channels_last).forward_features(
        x.contiguous(memory_format=torch.channels_last)
    )
    assert features.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model.forward_head(features), expected)
