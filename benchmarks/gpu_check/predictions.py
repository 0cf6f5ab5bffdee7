"""What the model of the kernels predicts for RedNet-50 over ResNet-50, and what a run says of it.

`benchmarks/kernels/README.md` has the predictions, for eager execution in bfloat16 at 224 pixels.
Neither torch nor rednet is imported here but in `predict`, which a stage calls.
"""

from collections.abc import Mapping, Sequence

from benchmarks.gpu_check.stages import Row

TOLERANCE = 0.05
"""Relative difference up to which a measured ratio confirms the predicted one."""
CONFIRMED, REFUTED, OPEN = "confirmed", "refuted", "open"
REASONS = {
    "fused": "the table composes operators whose fused kernels would be faster",
    "stored": "the table fuses operators whose stored kernels would be faster",
}
"""What is wrong if a variant is faster than the choice of the table."""
Key = tuple[str, str]


def predict(architecture: int) -> tuple[str, dict[Key, float]] | None:
    """Return the GPU that is modelled and the images per second over ResNet-50's by mode, variant.

    Returns None for an architecture that the model does not have.
    """
    from benchmarks.gpus import GPUS
    from benchmarks.kernels.span_choice import read_times
    from benchmarks.kernels.span_prediction import NETWORKS, operator_times, ratios

    for gpu in GPUS:
        if gpu.name in NETWORKS and gpu.arch == architecture:
            by_variant = ratios(gpu, operator_times(gpu, read_times()))
            return gpu.name, {
                (mode, variant): ratio
                for variant, both in by_variant.items()
                for mode, ratio in zip(("training", "inference"), both, strict=True)
            }
    return None


def judge_ratio(measured: float, predicted: float) -> str:
    """Return whether a measured ratio confirms or refutes the predicted one, and by how much."""
    difference = measured / predicted - 1
    verdict = CONFIRMED if abs(difference) <= TOLERANCE else REFUTED
    return f"{verdict} ({100 * difference:+.0f} %)"


def judge_choice(rows: Sequence[Row]) -> list[str]:
    """Return lines that say whether the table's choice is the fastest variant, as predicted.

    Args:
        rows: Rows of all stages; those with a prediction are of one variant and mode each.
    """
    found = {(row["mode"], row["variant"]): row for row in rows if row.get("predicted")}
    pairs = [
        (mode, other)
        for mode in ("training", "inference")
        for other in REASONS
        if {(mode, "chosen"), (mode, other)} <= found.keys()
    ]
    return [_judge_pair(found, mode, other) for mode, other in pairs]


def _judge_pair(found: Mapping[Key, Row], mode: str, other: str) -> str:
    """Compare the table's choice with another variant, each by its ratio to ResNet-50."""
    mine, rival = found[mode, "chosen"], found[mode, other]
    predicted = mine["predicted"] / rival["predicted"]
    median, least, most = (
        one / another
        for one, another in zip(
            mine["ratio"], (rival["ratio"][index] for index in (0, 2, 1)), strict=True
        )
    )
    verdict = CONFIRMED if least >= 1 else REFUTED if most < 1 else OPEN
    reason = f": {REASONS[other]}" if verdict == REFUTED else ""
    return (
        f"{mode}: chosen over {other} predicted {predicted:.3f}, measured {median:.3f} "
        f"({least:.3f} to {most:.3f}); chosen is not slower: {verdict}{reason}"
    )
