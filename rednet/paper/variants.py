"""Variants of RedNet-50 that nobody has published: hybrids, self-attention as the generator."""

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
)
from rednet.paper.tables import Table

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
