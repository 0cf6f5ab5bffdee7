"""The complexity of whole networks: Table 1, hybrids, and self-attention as the generator."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, combinations

from rednet.models.variants import STAGES
from rednet.paper.comparison import UNPUBLISHED, number
from rednet.paper.networks import (
    REFERENCE,
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
from rednet.paper.tables import Table, comparison_table, explain

REASONS = {
    ("RedNet-101", "parameters"): (
        "25.65, the model zoo's figure, comes out; to one decimal that is 25.7."
    ),
    ("ResNet-101", "parameters"): (
        "44.549; 44.6 is what comes of rounding 44.55 again. The authors' plot has 44.5."
    ),
    ("ResNet-101", "FLOPs"): (
        "7.85, which the authors' plot has, comes out; 7.9 is what comes of rounding that again."
    ),
}
OTHER_STEM = (
    "The released classification code has a 3x3 involution in its stem; the published complexity "
    "is that of a 7x7 one, as above."
)
STEMS = {
    "involution7": ("7x7", "whose complexity was published", ""),
    "involution3": ("3x3", "as released for classification", OTHER_STEM),
}
"""Size, where the stem is known from, and why the published figures do not come out with it."""


def rednet_table(stem: str) -> Table:
    """RedNet-26 to -152 with one of the two released stems, "involution7" or "involution3"."""
    size, which, otherwise = STEMS[stem]
    rows = []
    for depth in PAPER:
        figures = {"paper": PAPER[depth], "model zoo": MODEL_ZOO[depth]}
        row = compare_complexity(
            f"RedNet-{depth}",
            Network(depth, stem),
            {source: figure.parameters for source, figure in figures.items()},
            {source: figure.flops for source, figure in figures.items()},
        )
        rows.append(explain(row, REASONS, otherwise))
    title = f"Table 1, RedNet with the {size} stem, {which}"
    return comparison_table(f"rednet-{size}-stem", title, "Network", rows)


def resnet_table() -> Table:
    """ResNet-26 to -152."""
    rows = [
        compare_complexity(
            f"ResNet-{depth}",
            resnet(depth),
            {"paper": RESNET[depth].parameters},
            {"paper": RESNET[depth].flops, "plot": RESNET_PLOTTED_FLOPS[depth]},
        )
        for depth in RESNET
    ]
    rows = [explain(row, REASONS) for row in rows]
    note = (
        "ResNet-26 and -38 have the blocks of RedNet-26 and -38, (1, 2, 4, 1) and (2, 3, 5, 2); "
        "timm's resnet26 is another network."
    )
    return comparison_table("resnet", "Table 1, ResNet", "Network", rows, notes=[note])


UNPUBLISHED_NOTE = "Not published anywhere; complexity alone, nobody has trained these here."


def hybrid_table() -> Table:
    """RedNet-50 with involution in every choice of its stages, a 3x3 convolution in the others."""
    chosen = chain.from_iterable(combinations(STAGES, size) for size in range(len(STAGES) + 1))
    variants = {
        ", ".join(map(str, stages)) or "none": replace(REFERENCE, involution_stages=stages)
        for stages in chosen
    }
    title = "RedNet-50 with involution in some of its stages"
    return _variants_table("hybrids", title, "Stages with involution", variants)


def generator_table() -> Table:
    """RedNet-50 with kernels from self-attention."""
    attention = replace(REFERENCE, generator="attention")
    variants = {"W1 s W0 (the paper's)": REFERENCE, "query x key": attention}
    for options in (("softmax",), ("relative_position",), ("relative_position", "softmax")):
        name = ", ".join(["query x key", *options]).replace("_", " ")
        variants[name] = replace(attention, generator_options=options)
    title = "RedNet-50 with self-attention as the kernel's generator"
    return _variants_table("attention", title, "Generator", variants)


def _variants_table(key: str, title: str, heading: str, variants: Mapping[str, Network]) -> Table:
    """Parameters, FLOPs and MACs of variants, with both released stems."""
    columns, lines, figures = [heading], [[name] for name in variants], []
    for stem in ("involution7", "involution3"):
        columns += [f"{STEM_NAMES[stem]}: parameters (M)", "FLOPs (G)", "MACs (G)"]
        for line, (name, variant) in zip(lines, variants.items(), strict=True):
            network = replace(variant, stem=stem)
            row = f"{name}, {STEM_NAMES[stem]}"
            found = compare_complexity(row, network, UNPUBLISHED, UNPUBLISHED)
            line += [number(item.ours) for item in found]
            figures += found
    return Table(key, title, columns, lines, figures, (UNPUBLISHED_NOTE,))
