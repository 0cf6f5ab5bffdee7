"""RedNet under its names in timm: `timm.create_model("rednet50")`.

timm runs this file as soon as timm itself is imported (see `rednet/__init__.py`), so the network,
which needs timm, is imported when one is created.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
    resolve_pretrained_cfg,
)
from torch import Tensor

from rednet.models.variants import LAYERS, PRETRAINED_CFG

if TYPE_CHECKING:
    from rednet.models.rednet import RedNet

FOLDERS_AND_HUBS = ("local-dir", "hf-hub")


default_cfgs = generate_default_cfgs(
    {f"{variant}.paper_in1k": PRETRAINED_CFG for variant in LAYERS}
)


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: "RedNet") -> dict[str, Tensor]:
    """The original's tensors under our names, which lack the prefixes of its framework."""
    from rednet.weights.naming import strip_prefixes

    return strip_prefixes(state_dict)[0]


def _create(variant: str, pretrained: bool, **arguments: Any) -> "RedNet":
    from rednet.models.rednet import RedNet

    network: Callable[..., RedNet] = RedNet
    file = _weights_file(variant, arguments) if pretrained else None
    if file is not None:
        from rednet.weights.pretrained import use_file

        network, arguments = use_file(file, variant, arguments)
    return build_model_with_cfg(
        network,
        variant,
        pretrained and file is None,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"flatten_sequential": False},
        **{"layers": LAYERS[variant], **arguments},
    )


def _weights_file(variant: str, arguments: dict[str, Any]) -> str | None:
    """The file of weights that timm was given for a network."""
    given = (arguments.get(name) for name in ("pretrained_cfg", "pretrained_cfg_overlay"))
    cfg = resolve_pretrained_cfg(variant, *given)
    return None if cfg.state_dict or cfg.source in FOLDERS_AND_HUBS else cfg.file


@register_model
def rednet26(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-26: blocks (1, 2, 4, 1), 9.2 M parameters."""
    return _create("rednet26", pretrained, **kwargs)


@register_model
def rednet38(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-38: blocks (2, 3, 5, 2), 12.4 M parameters."""
    return _create("rednet38", pretrained, **kwargs)


@register_model
def rednet50(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-50: blocks (3, 4, 6, 3), 15.5 M parameters."""
    return _create("rednet50", pretrained, **kwargs)


@register_model
def rednet101(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-101: blocks (3, 4, 23, 3), 25.7 M parameters."""
    return _create("rednet101", pretrained, **kwargs)


@register_model
def rednet152(pretrained: bool = False, **kwargs: Any) -> "RedNet":
    """RedNet-152: blocks (3, 8, 36, 3), 34.0 M parameters."""
    return _create("rednet152", pretrained, **kwargs)
