"""The kernels of the report: those of RedNet-50 at 224 pixels, and one without tiles.

The launch layer plans them as it would for the network; nothing is launched.
"""

from dataclasses import dataclass
from itertools import product

import torch

from benchmarks.layers import Layer, layers_of
from rednet.ops.cuda.launch_config import OPERATORS
from rednet.ops.cuda.plan import Launch, plan_grad_input, plan_grad_weight, plan_involution2d

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
ODD = Layer("odd", channels=10, size=57, kernel_size=33, stride=2, group_channels=5)
"""A layer whose window is too large for a tile."""
LAYERS = {**layers_of(224), ODD.name: ODD}


@dataclass(frozen=True)
class KernelCase:
    """An operator on one image, identified by the names in the report's tables."""

    layer: str
    operator: str
    dtype: str
    layout: str

    @property
    def launch(self) -> Launch:
        """The launch that the launch layer plans."""
        layer, dtype, layout = LAYERS[self.layer], DTYPES[self.dtype], LAYOUTS[self.layout]
        input, weight, output = (
            torch.empty(1, *shape, dtype=dtype).to(memory_format=layout)
            for shape in (layer.input_shape, layer.weight_shape, layer.output_shape)
        )
        if self.operator == "involution2d":
            return plan_involution2d(input, weight, output, layer.window)
        if self.operator == "involution2d_grad_input":
            return plan_grad_input(output, weight, input, layer.window)
        return plan_grad_weight(output, input, weight, layer.window)


def all_cases() -> list[KernelCase]:
    """Return all cases in the order of the tables."""
    return [KernelCase(*names) for names in product(LAYERS, OPERATORS, DTYPES, LAYOUTS)]
