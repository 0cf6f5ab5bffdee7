"""The 1x1 convolutions of a RedNet in both forms: as matrix products and as torch's convolutions.

`rednet.layers.pointwise_forms` has the rule that chooses.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

import rednet.registry  # noqa: F401 (registers the names with timm)
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet.layers import PointwiseConv2d
from rednet.layers.pointwise_forms import (
    CONVOLUTIONS,
    PRODUCTS,
    cpu_vendor,
    pointwise_forms,
    using_pointwise_forms,
)

FORMS = {"product": PRODUCTS, "convolution": CONVOLUTIONS}


@dataclass(frozen=True)
class Shape:
    """A 1x1 convolution of square images."""

    in_channels: int
    out_channels: int
    size: int


def find_shapes(depth: int, image_size: int) -> Counter[Shape]:
    """Return how often each 1x1 convolution of stride 1 and without bias occurs in a RedNet."""
    with torch.device("meta"):
        model, images = timm.create_model(f"rednet{depth}"), torch.empty(1, 3, *[image_size] * 2)
    found: Counter[Shape] = Counter()

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found[Shape(inputs[0].shape[1], output.shape[1], output.shape[2])] += 1

    for module in model.modules():
        if isinstance(module, PointwiseConv2d) and module.bias is None:
            module.register_forward_hook(count)
    model.eval()(images)
    return found


def measure_shape(
    shape: Shape, times_in_network: int, batch: int, turns: int, on_turn: Work
) -> list[dict[str, Any]]:
    """Return a row for each direction of a convolution, with the times of both forms.

    Args:
        shape: The convolution.
        times_in_network: How often the network has it.
        batch: Images.
        turns: Turns of each form and direction.
        on_turn: Called after every round of turns.
    """
    contenders = {
        (form, direction): work
        for form in FORMS
        for direction, work in _directions(shape, batch, form).items()
    }
    named = {f"{form}/{direction}": work for (form, direction), work in contenders.items()}
    times = take_turns(named, turns, torch.device("cpu"), on_turn)
    rows = []
    for direction in asdict(PRODUCTS):
        own = {form: times[f"{form}/{direction}"] for form in FORMS}
        rows.append(
            {
                **asdict(shape),
                "times": times_in_network,
                "batch": batch,
                "direction": direction,
                "chosen": asdict(pointwise_forms())[direction],
                **{
                    f"{form}_ms": Spread.of([1e3 * one for one in seconds]).median
                    for form, seconds in own.items()
                },
                "ratio": asdict(Ratio.of(own["product"], own["convolution"])),
            }
        )
    return rows


def summarize(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each direction: milliseconds an image of all convolutions together."""
    lines = []
    for direction in asdict(PRODUCTS):
        own = [row for row in rows if row["direction"] == direction]
        total = {
            form: sum(row[f"{form}_ms"] * row["times"] / row["batch"] for row in own)
            for form in FORMS
        }
        figures = ", ".join(f"{form} {ms:.3g} ms an image" for form, ms in total.items())
        chosen = own[0]["chosen"]
        vendor = cpu_vendor() or "an unknown vendor"
        lines.append(f"{direction}: {figures}; the rule for {vendor}: {chosen}")
    return lines


def _directions(shape: Shape, batch: int, form: str) -> dict[str, Work]:
    """Return the three directions of a convolution in one form."""
    layer = PointwiseConv2d(shape.in_channels, shape.out_channels)
    generator = torch.Generator().manual_seed(0)
    images, grad = (
        torch.randn(batch, channels, shape.size, shape.size, generator=generator).to(
            memory_format=torch.channels_last
        )
        for channels in (shape.in_channels, shape.out_channels)
    )
    images.requires_grad_()
    with using_pointwise_forms(FORMS[form]):
        output = layer(images)

    def forward() -> Tensor:
        with using_pointwise_forms(FORMS[form]):  # without gradients there is no choice
            result: Tensor = layer(images)
        return result

    def gradient(of: Tensor) -> Work:
        return lambda: torch.autograd.grad(output, of, grad, retain_graph=True)

    return {
        "forward": forward,
        "input_gradient": gradient(images),
        "weight_gradient": gradient(layer.weight),
    }
