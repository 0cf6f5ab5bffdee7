"""RedNet: residual networks of involution.

Importing `rednet` registers its operators with torch and its models with timm: immediately if those
have been imported, otherwise as soon as they are. It imports neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from rednet import layers, models, ops
    from rednet.classifier import Classifier
    from rednet.hub import save_for_hub
    from rednet.layers import Involution2d
    from rednet.models.rednet import RedNet
    from rednet.ops import involution2d, involution2d_grad_input, involution2d_grad_weight
    from rednet.optimization import optimize
    from rednet.runtime import keep_freed_memory

    __version__: str

_HOMES = {
    "Classifier": "rednet.classifier",
    "Involution2d": "rednet.layers",
    "RedNet": "rednet.models.rednet",
    "involution2d": "rednet.ops",
    "involution2d_grad_input": "rednet.ops",
    "involution2d_grad_weight": "rednet.ops",
    "optimize": "rednet.optimization",
    "keep_freed_memory": "rednet.runtime",
    "save_for_hub": "rednet.hub",
}

__all__ = [
    "Classifier",
    "Involution2d",
    "RedNet",
    "involution2d",
    "involution2d_grad_input",
    "involution2d_grad_weight",
    "keep_freed_memory",
    "layers",
    "models",
    "ops",
    "optimize",
    "save_for_hub",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import rednet` stays fast."""
    if name == "__version__":
        from rednet.versions import rednet_version

        return rednet_version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"rednet.{name}")
    raise AttributeError(f"module 'rednet' has no attribute {name!r}")


# A saved program or trace names the operators, but does not import the modules that have them.
def _register_operators(torch: Any) -> None:
    import_module("rednet.ops")


def _register_models(timm: Any) -> None:
    import_module("rednet.registry")


register_post_import_hook(_register_operators, "torch")
register_post_import_hook(_register_models, "timm")
