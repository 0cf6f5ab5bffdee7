"""Table 1 of the paper, without its accuracies: RedNet and ResNet, parameters and FLOPs."""

from rednet.paper.networks import Network, compare_complexity, resnet
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
