"""Keys of network and weights that other settings leave without effect."""

import math

from rednet.config.effect_rule import Lookup, Rule
from rednet.models.variants import STAGE_STRIDES, STEMS

OF_INVOLUTION = tuple(
    f"model.options.{name}"
    for name in ("kernel_size", "group_channels", "reduction", "generator", "generator_options")
)


def _has_involution(get: Lookup) -> bool:
    return get("model.options.involution_stages") != []


def _stem_is_plain(get: Lookup) -> bool:
    stem = STEMS.get(get("model.options.stem"))
    return stem is not None and stem.involution_kernel_size is None


def _stem_keeps_size(get: Lookup) -> bool:
    """Whether the whole network has a stride of 8, the smallest that it can be limited to."""
    stem = STEMS.get(get("model.options.stem"))
    return stem is not None and stem.reduction * math.prod(STAGE_STRIDES) <= 8


NETWORK_RULES = (
    Rule(
        ("trainer.optimize",),
        lambda get: get("features") is True,
        "has no effect with features=true, which needs the network's parts",
        commands=("predict",),
    ),
    Rule(
        ("resume",),
        lambda get: get("resume") in ("auto", "force") and get("output_dir") is None,
        "has no effect without output_dir=FOLDER, the run to continue",
    ),
    Rule(
        ("checkpoint",),
        lambda get: get("resume") not in ("auto", "force", "never", None),
        "has no effect with resume=PATH, which continues with the weights of that run",
        commands=("train",),
    ),
    Rule(
        ("model.options.pretrained",),
        lambda get: get("checkpoint") is not None,
        "has no effect with checkpoint=FILE, which has the weights",
    ),
    Rule(
        OF_INVOLUTION,
        lambda get: not _has_involution(get),
        "has no effect with involution_stages=[]",
    ),
    Rule(
        ("model.options.recompute_kernel",),
        lambda get: not _has_involution(get) and _stem_is_plain(get),
        "has no effect without involutions",
    ),
    Rule(
        ("model.options.output_stride",),
        _stem_keeps_size,
        "has no effect with stem=small, whose output has stride 8",
    ),
    Rule(
        ("model.options.reduction",),
        lambda get: get("model.options.generator") == "linear",
        "has no effect with generator=linear",
    ),
)
