"""Register the RedNets with timm: `timm.create_model("rednet50")`.

This module runs while timm is being imported (see `rednet/__init__.py`), so it imports the network,
which needs timm, only when one is created.
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
"""Sources that timm loads by itself."""

default_cfgs = generate_default_cfgs(
    {f"{variant}.paper_in1k": PRETRAINED_CFG for variant in LAYERS}
)


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: "RedNet") -> dict[str, Tensor]:
    """Rename the original's tensors to ours, which lack the prefixes of OpenMMLab."""
    from rednet.weights.naming import strip_prefixes

    return strip_prefixes(state_dict)[0]


def _create(variant: str, pretrained: bool, **arguments: Any) -> "RedNet":
    from rednet.models.rednet import RedNet

    network: Callable[..., RedNet] = RedNet
    file = _weights_file(variant, arguments) if pretrained else None
    if file is not None:
        from rednet.weights.pretrained import prepare_pretrained

        network, arguments = prepare_pretrained(file, variant, arguments)
    return build_model_with_cfg(
        network,
        variant,
        pretrained and file is None,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"flatten_sequential": False},
        **{"layers": LAYERS[variant], **arguments},
    )


def _weights_file(variant: str, arguments: dict[str, Any]) -> str | None:
    """Return the local file of weights that timm was told to load, if any."""
    cfg = resolve_pretrained_cfg(
        variant, arguments.get("pretrained_cfg"), arguments.get("pretrained_cfg_overlay")
    )
    return None if cfg.state_dict or cfg.source in FOLDERS_AND_HUBS else cfg.file


def _make_entry_point(variant: str) -> Callable[..., "RedNet"]:
    def entry_point(pretrained: bool = False, **kwargs: Any) -> "RedNet":
        return _create(variant, pretrained, **kwargs)

    # timm registers a function by its __name__, pickle finds it by its __qualname__.
    entry_point.__name__ = entry_point.__qualname__ = variant
    blocks = ", ".join(map(str, LAYERS[variant]))
    entry_point.__doc__ = f"""Create a RedNet with {blocks} blocks in its four stages.

    Args:
        pretrained: Load the weights that `pretrained_cfg` or its overlay names.
        **kwargs: Arguments of `rednet.RedNet` and of timm's `build_model_with_cfg`.
    """
    return register_model(entry_point)


globals().update({variant: _make_entry_point(variant) for variant in LAYERS})
