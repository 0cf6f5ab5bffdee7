import pytest
import torch
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP, AugmentOp, AutoAugment

from rednet.data import Augmentation, Preprocessing, train_transform
from rednet.data.policies import check_policy, fix_policy
from rednet.data.seeding import seeded
from rednet.data.transforms import PILLOW_INTERPOLATIONS
from rednet.errors import InputError

POLICIES = [
    "rand-m9-mstd0.5",
    "rand-m9-mstd0.5-inc1",
    "rand-m9-n3-p0.8-mmax30",
    "rand-tweights",
    "rand-t3a",
    "rand-t3aw",
    "original",
    "originalr-mstd0.5",
    "v0",
    "v0r",
    "3a",
    "augmix-m3-w3",
    "augmix-m5-w4-d2-b1",
    "trivial",
]


@pytest.fixture
def gray_image(fashion_mnist):
    return fashion_mnist.train.load(0)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["bilinear", "lanczos"])
def test_policies_vary_gray_and_colour_images(gray_image, policy, channels, interpolation):
    preprocessing = Preprocessing(28, 1.0, interpolation, (0.3,) * channels, (0.3,) * channels)
    transform = train_transform(preprocessing, Augmentation(auto_augment=policy))
    with seeded(0):
        results = torch.stack([transform(gray_image) for _ in range(20)])
    assert results.shape == (20, channels, 28, 28)
    assert len(results.flatten(1).unique(dim=0)) > 2


@pytest.mark.parametrize("interpolation", PILLOW_INTERPOLATIONS)
@pytest.mark.parametrize("name", NAME_TO_OP)
def test_every_operation_runs_on_gray_at_every_strength(gray_image, name, interpolation):
    settings = {
        "translate_const": 12,
        "translate_pct": 0.3,
        "magnitude_max": 30,
        "img_mean": (73,),
        "interpolation": Image.Resampling[interpolation.upper()],
    }
    strengths = (0, 0.5, 2.5, 9, 10, 20, 30)
    operations = [AugmentOp(name, 1.0, strength, settings) for strength in strengths]
    fix_policy(AutoAugment([[operation] for operation in operations]))
    for operation in operations:
        result = operation(gray_image)
        assert (result.mode, result.size) == ("L", (28, 28))


def test_posterize_keeps_at_least_one_bit(gray_image):
    operation = AugmentOp("PosterizeIncreasing", 1.0, 10, {"img_mean": (0,)})
    fix_policy(AutoAugment([[operation]]))
    assert operation(gray_image).getcolors() == [(441, 0), (343, 128)]


@pytest.mark.parametrize(
    "policy",
    [
        "rand-m",
        "rand-foo",
        "rand-m9-mstdx",
        "random",
        "v1",
        "original-m9",
        "augmix-d-1",
        "rand-m9.5",
    ],
)
def test_a_policy_that_timm_would_ignore_in_part_is_an_input_error(policy):
    with pytest.raises(InputError, match=f"auto_augment '{policy}' is not a policy of timm's: try"):
        check_policy(policy)
