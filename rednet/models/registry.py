"""RedNet under its names in timm: `timm.create_model("rednet50")`.

timm runs this file as soon as timm itself is imported (see `rednet/__init__.py`), so the network,
which needs timm, is imported when one is created.
"""

from typing import TYPE_CHECKING, Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor

if TYPE_CHECKING:
    from rednet.models.rednet import RedNet

ORIGINAL_PREFIXES = ("backbone.", "head.")


def _cfg(**overrides: Any) -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem.0.conv",
        "classifier": "fc",
        "license": "mit",
        "origin_url": "https://github.com/d-li14/involution",
        "paper_ids": "arXiv:2103.06255",
        "paper_name": "Involution: Inverting the Inherence of Convolution for Visual Recognition",
        **overrides,
    }


default_cfgs = generate_default_cfgs(
    {f"rednet{depth}.paper_in1k": _cfg() for depth in (26, 38, 50, 101, 152)}
)


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: "RedNet") -> dict[str, Tensor]:
    """The original's tensors under our names, which lack the prefixes of its framework."""
    renamed = {}
    for key, tensor in state_dict.items():
        for prefix in ORIGINAL_PREFIXES:
            key = key.removeprefix(prefix)
        renamed[key] = tensor
    return renamed


def _create(variant: str, pretrained: bool, **kwargs: Any) -> "RedNet":
    from rednet.models.rednet import RedNet

    return build_model_with_cfg(
        RedNet,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"flatten_sequential": False},
        **kwargs,
    )


@register_model
def rednet26(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-26: blocks (1, 2, 4, 1), 9.2 M parameters."""
    return _create("rednet26", pretrained, **{"layers": (1, 2, 4, 1), **kwargs})


@register_model
def rednet38(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-38: blocks (2, 3, 5, 2), 12.4 M parameters."""
    return _create("rednet38", pretrained, **{"layers": (2, 3, 5, 2), **kwargs})


@register_model
def rednet50(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-50: blocks (3, 4, 6, 3), 15.5 M parameters."""
    return _create("rednet50", pretrained, **{"layers": (3, 4, 6, 3), **kwargs})


@register_model
def rednet101(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-101: blocks (3, 4, 23, 3), 25.7 M parameters."""
    return _create("rednet101", pretrained, **{"layers": (3, 4, 23, 3), **kwargs})


@register_model
def rednet152(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-152: blocks (3, 8, 36, 3), 34.0 M parameters."""
    return _create("rednet152", pretrained, **{"layers": (3, 8, 36, 3), **kwargs})
