"""RedNet-50 with fused, stored and chosen operators, as the model of the kernels has them.

python -m benchmarks.kernels.span_prediction prints microseconds per image in bfloat16, and the
images per second over ResNet-50's; no GPU is needed.
"""

import csv
import sys
from dataclasses import dataclass

import torch
from tabulate import tabulate

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels.bounds import RESOURCES
from benchmarks.kernels.cases import LAYERS
from benchmarks.kernels.expected_time import EFFICIENCY, expected
from benchmarks.kernels.span_choice import SPAN_OPERATORS, Times, read_times
from benchmarks.kernels.span_report import BINDS, COUNTS
from rednet.ops.cuda.span_table import FUSED

WAYS = ("fused", "stored", "chosen")


@dataclass(frozen=True)
class Network:
    """ResNet-50's microseconds per image, and its time over RedNet-50's with the note's kernels.

    From the project's note on the GPU path (model, eager, bfloat16, batch 256, with the span's bias
    in its product and kernels that the backward pass makes again). The note has ratios alone for
    inference: the time there is what makes its two ratios differ by the bias, 2 x 8.9 MB an image.
    The note's kernels are stored, and their sums those of single multiply-adds. `operators` and
    `forward` are what this model has for them: all three operators, the forward pass alone.
    """

    training: float
    inference: float
    training_ratio: float
    inference_ratio: float
    operators: float
    forward: float


NETWORKS = {
    "A100 SXM 80 GB": Network(1e6 / 2637, 77, 0.85, 0.94, operators=92.4, forward=23.5),
    "H100 SXM": Network(194, 33, 0.77, 0.80, operators=55.2, forward=13.4),
}


def operator_times(gpu: Gpu, times: list[Times]) -> dict[str, dict[str, float]]:
    """Return the microseconds of each operator in all of RedNet-50, fused, stored and chosen.

    An operator without a fused kernel for a layer is composed in each of the three.
    """
    found = {row[:4]: row for row in times}
    totals = {operator: dict.fromkeys(WAYS, 0.0) for operator in SPAN_OPERATORS}
    for operator, total in totals.items():
        key = operator, 16, gpu.arch
        for layer, count in COUNTS.items():
            row = found.get((*key, layer))
            stored = row.stored if row else _composed_gradients(layer, gpu)
            fused = row.fused if row else stored
            chosen = fused if layer in FUSED[key] else stored
            for way, time in zip(WAYS, (fused, stored, chosen), strict=True):
                total[way] += count * time
    return totals


def _composed_gradients(layer: str, gpu: Gpu) -> float:
    """Return the time of the weight's gradient, and of the span's three from it, in bfloat16."""
    names = layer, "involution2d_grad_weight", "bfloat16", gpu.name
    rows = csv.DictReader(BINDS.read_text(encoding="utf-8").splitlines())
    row = next(row for row in rows if tuple(row.values())[:4] == names)
    taps, *sides = LAYERS[layer].weight_shape
    values = (3 * taps + LAYERS[layer].channels // 2) * torch.Size(sides).numel()
    moved = 1e6 * 2 * values / gpu.bandwidth / EFFICIENCY["memory"]
    return expected({name: float(row[f"{name}_us"]) for name in RESOURCES}) + moved


def ratios(gpu: Gpu, totals: dict[str, dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return RedNet-50's images per second over ResNet-50's, in training and inference."""
    network = NETWORKS[gpu.name]
    result = {}
    for way in WAYS:
        operators = sum(total[way] for total in totals.values())
        forward = totals["span_involution2d"][way]
        training = network.training / network.training_ratio - network.operators + operators
        inference = network.inference / network.inference_ratio - network.forward + forward
        result[way] = network.training / training, network.inference / inference
    return result


def main() -> int:
    """Print the tables."""
    rows = []
    for gpu in (gpu for gpu in GPUS if gpu.name in NETWORKS):
        totals = operator_times(gpu, read_times())
        over = ratios(gpu, totals)
        for way in WAYS:
            each = [total[way] for total in totals.values()]
            rows.append([gpu.name, way, *each, sum(each), *over[way]])
    names = ("GPU", "operators", *SPAN_OPERATORS, "all", "training", "inference")
    formats = ("", "", *[".1f"] * 4, ".2f", ".2f")
    print(tabulate(rows, names, tablefmt="github", floatfmt=formats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
