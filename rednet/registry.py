"""Register the RedNets with timm: `timm.create_model("rednet50")`.

This module runs while timm is being imported (see `rednet/__init__.py`), so it imports the network,
which needs timm, only when one is created.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

import timm.models._builder
import timm.models._factory
import timm.models._helpers
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
    resolve_pretrained_cfg,
)
from torch import Tensor

from rednet.models.variants import HIDDEN_DEFAULTS, LAYERS, PRETRAINED_CFG, UNSEEN

if TYPE_CHECKING:
    from rednet.models.rednet import RedNet

FOLDERS_AND_HUBS = ("local-dir", "hf-hub")
"""Sources that timm loads by itself."""

default_cfgs = generate_default_cfgs(
    {f"{variant}.paper_in1k": PRETRAINED_CFG for variant in LAYERS}
)


def checkpoint_filter_fn(
    state_dict: dict[str, Tensor], model: "RedNet | None"
) -> dict[str, Tensor]:
    """Rename tensors to ours, which lack the prefixes of wrappers and of OpenMMLab.

    timm would load whatever fits into a network with other classes; everything but the classifier
    and the first convolution, which timm adapts, is required to fit.

    Raises:
        InputError: The weights are for another network.
    """
    from rednet.weights.loading import require_body_fits
    from rednet.weights.naming import strip_prefixes
    from rednet.weights.prefixes import unwrap

    weights = strip_prefixes(unwrap(state_dict).weights)[0]
    if model is not None:
        require_body_fits(weights, model)
    return weights


def _create(variant: str, pretrained: bool, **arguments: Any) -> "RedNet":
    from rednet.models.rednet import RedNet

    network: Callable[..., RedNet] = RedNet
    file = _weights_file(variant, arguments) if pretrained else None
    if file is not None:
        from rednet.weights.pretrained import prepare_pretrained

        network, arguments = prepare_pretrained(file, variant, arguments)
    model = build_model_with_cfg(
        network,
        variant,
        pretrained and file is None,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"flatten_sequential": False},
        **{"layers": LAYERS[variant], **arguments},
    )
    given = {name: arguments[name] for name in {*HIDDEN_DEFAULTS, *UNSEEN} if name in arguments}
    vars(model)["given_options"] = given  # for files whose tensors do not show them
    return model


def _weights_file(variant: str, arguments: dict[str, Any]) -> str | None:
    """Return the local file of weights that timm was told to load, if any."""
    cfg = resolve_pretrained_cfg(
        variant, arguments.get("pretrained_cfg"), arguments.get("pretrained_cfg_overlay")
    )
    return _local_file(cfg.to_dict())


def _local_file(cfg: Mapping[str, Any]) -> str | None:
    """Return the file from which timm would load weights, if it would load them from a file."""
    is_elsewhere = cfg.get("state_dict") or cfg.get("source") in FOLDERS_AND_HUBS
    return None if is_elsewhere else cfg.get("file")


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


def _load_checkpoint(original: Callable[..., Any], model: Any, arguments: dict[str, Any]) -> Any:
    """Load any file where timm loads its own; leave special requests to timm."""
    plain = inspect.signature(original).parameters
    requests = {name: value for name, value in arguments.items() if value != plain[name].default}
    path = requests.pop("checkpoint_path")
    if requests.keys() - {"device"}:
        return original(model, path, **requests)
    from rednet.weights.timm_loaders import load_checkpoint_file

    return load_checkpoint_file(model, path)


def _load_pretrained(original: Callable[..., Any], model: Any, arguments: dict[str, Any]) -> Any:
    """Load any file where timm loads its own; leave other sources to timm."""
    cfg = arguments.get("pretrained_cfg") or getattr(model, "pretrained_cfg", None) or {}
    file = _local_file(cfg)
    if file is None:
        if arguments.get("filter_fn") is None:
            arguments["filter_fn"] = checkpoint_filter_fn
        return original(model, **arguments)
    from rednet.weights.timm_loaders import load_pretrained_file

    return load_pretrained_file(model, file)


def _take_over(name: str, ours: Callable[..., Any]) -> None:
    """Let a function of timm's that loads weights pass RedNets to ours.

    It reads fewer kinds of files, and cannot see that a file is for a network with other options.
    """
    original: Callable[..., Any] = getattr(timm.models, name)
    signature = inspect.signature(original)

    @wraps(original)
    def load(model: Any, *args: Any, **kwargs: Any) -> Any:
        rednet = sys.modules.get("rednet.models.rednet")
        if rednet is None or not isinstance(model, rednet.RedNet):
            return original(model, *args, **kwargs)
        arguments = dict(signature.bind(model, *args, **kwargs).arguments)
        del arguments["model"]
        return ours(original, model, arguments)

    for module in (timm.models, timm.models._builder, timm.models._factory, timm.models._helpers):
        if getattr(module, name, None) is original:
            setattr(module, name, load)


_take_over("load_checkpoint", _load_checkpoint)
_take_over("load_pretrained", _load_pretrained)
