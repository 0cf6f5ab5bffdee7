"""The complexity of whole networks: Table 1, hybrids, and self-attention as the generator."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, combinations

from rednet.models.variants import STAGES, STEMS
from rednet.paper.comparison import UNPUBLISHED, Comparison, format_number
from rednet.paper.networks import (
    DEFAULTS,
    INVOLUTION_STEMS,
    PUBLISHED_REDNET50,
    STEM_NAMES,
    Network,
    compare_complexity,
    resnet,
)
from rednet.paper.published import (
    MODEL_ZOO,
    PAPER,
    RESNET,
    RESNET_PLOTTED_FLOPS,
)
from rednet.paper.tables import Table, add_reasons, comparison_table

REASONS = {
    ("RedNet-101", "parameters"): ("Ours agrees with the model zoo's 25.65, which rounds to 25.7."),
    ("ResNet-101", "parameters"): (
        "Ours is 44.549. Rounding 44.55 a second time gives 44.6; the authors' plot has 44.5."
    ),
    ("ResNet-101", "FLOPs"): (
        "Ours rounds to 7.85, as in the authors' plot; rounding 7.85 a second time gives 7.9."
    ),
}
OTHER_STEM = (
    "The released classification code has a 3x3 involution in its stem; the published complexity "
    "is that of a 7x7 involution."
)
UNPUBLISHED_NOTE = "Unpublished and not trained here: only the complexity is known."


def rednet_table(stem: str) -> Table:
    """Compare RedNet-26 to -152 with one of `INVOLUTION_STEMS`."""
    label, origin = STEMS[stem].label, STEMS[stem].origin
    assert label is not None
    title = f"Table 1, RedNet with the {label}" + (f", {origin}" if origin else "")
    key = f"rednet-{label.replace(' ', '-')}"
    rows = [compare_rednet(depth, stem) for depth in PAPER]
    is_released = stem == DEFAULTS["stem"]
    top5 = [{"Top-5 (%): model zoo": result.top5 or "-"} for result in MODEL_ZOO.values()]
    return comparison_table(key, title, "Network", rows, extra=top5 if is_released else ())


def compare_rednet(depth: int, stem: str) -> list[Comparison]:
    """Compare the complexity of a RedNet with the published numbers."""
    published = {"paper": PAPER[depth], "model zoo": MODEL_ZOO[depth]}
    row = compare_complexity(
        f"RedNet-{depth}",
        Network(depth, stem),
        {source: result.parameters for source, result in published.items()},
        {source: result.flops for source, result in published.items()},
    )
    return add_reasons(row, REASONS, "" if stem == PUBLISHED_REDNET50.stem else OTHER_STEM)


def resnet_table() -> Table:
    """Compare ResNet-26 to -152."""
    rows = [
        compare_complexity(
            f"ResNet-{depth}",
            resnet(depth),
            {"paper": RESNET[depth].parameters},
            {"paper": RESNET[depth].flops, "plot": RESNET_PLOTTED_FLOPS[depth]},
        )
        for depth in RESNET
    ]
    rows = [add_reasons(row, REASONS) for row in rows]
    note = (
        "ResNet-26 and -38 have as many blocks per stage as RedNet-26 and -38, (1, 2, 4, 1) and "
        "(2, 3, 5, 2); timm's resnet26 is a different network."
    )
    top1 = [{"Top-1 (%): plot": result.top1 or "-"} for result in RESNET.values()]
    title = "Table 1, ResNet"
    return comparison_table("resnet", title, "Network", rows, extra=top1, notes=[note])


def hybrid_table() -> Table:
    """Count RedNet-50 with involution in each subset of its stages, 3x3 convolution elsewhere."""
    subsets = chain.from_iterable(combinations(STAGES, size) for size in range(len(STAGES) + 1))
    variants = {
        ", ".join(map(str, stages)) or "none": replace(PUBLISHED_REDNET50, involution_stages=stages)
        for stages in subsets
    }
    title = "RedNet-50 with involution in some of its stages"
    return _variants_table("hybrids", title, "Stages with involution", variants)


def generator_table() -> Table:
    """Count RedNet-50 with self-attention as the kernel generator."""
    attention = replace(PUBLISHED_REDNET50, generator="attention")
    variants = {"W1 s W0 (the paper's)": PUBLISHED_REDNET50, "query x key": attention}
    for options in (("softmax",), ("relative_position",), ("relative_position", "softmax")):
        name = ", ".join(["query x key", *options]).replace("_", " ")
        variants[name] = replace(attention, generator_options=options)
    title = "RedNet-50 with self-attention as the kernel's generator"
    return _variants_table("attention", title, "Generator", variants)


def _variants_table(key: str, title: str, heading: str, variants: Mapping[str, Network]) -> Table:
    """Count parameters, FLOPs and MACs of variants, with each of `INVOLUTION_STEMS`."""
    columns, rows, comparisons = [heading], [[name] for name in variants], []
    for stem in INVOLUTION_STEMS:
        columns += [f"{STEM_NAMES[stem]}: parameters (M)", "FLOPs (G)", "MACs (G)"]
        for row, (name, variant) in zip(rows, variants.items(), strict=True):
            network = replace(variant, stem=stem)
            label = f"{name}, {STEM_NAMES[stem]}"
            found = compare_complexity(label, network, UNPUBLISHED, UNPUBLISHED)
            row += [format_number(item.ours) for item in found]
            comparisons += found
    return Table(key, title, columns, rows, comparisons, (UNPUBLISHED_NOTE,))
