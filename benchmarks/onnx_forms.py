"""Ways to write the involution with operators of the ONNX standard, in two runtimes."""

from collections.abc import Callable
from dataclasses import asdict, astuple
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.layers import Layer, random_inputs, unfold_involution2d
from benchmarks.runtimes import RUNTIMES, Run, unavailable_reason
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet import involution2d
from rednet.export.onnx_file import to_onnx
from rednet.export.program import sizes_of_one
from rednet.ops import Window

Row = dict[str, Any]

CPU = torch.device("cpu")
NATIVE = "native"
SIZES = {0: "batch", 2: "height", 3: "width"}


def slices(input: Tensor, weight: Tensor, *sides: int) -> Tensor:
    """Multiply and add a slice of the image for each of the K*K taps."""
    window, (height, width) = Window(*sides), weight.shape[2:]
    groups = weight.shape[1] // window.area
    kernels = weight.unflatten(1, (groups, 1, window.area))
    padded = F.pad(input, [window.padding] * 4).unflatten(1, (groups, -1))
    output: Any = 0
    for tap in range(window.area):
        row, column = (window.dilation * place for place in divmod(tap, window.kernel_size))
        rows = slice(row, row + window.stride * (height - 1) + 1, window.stride)
        columns = slice(column, column + window.stride * (width - 1) + 1, window.stride)
        output = output + kernels[:, :, :, tap] * padded[..., rows, columns]
    return output.flatten(1, 2)


def one_hot(input: Tensor, weight: Tensor, *sides: int) -> Tensor:
    """Copy the K*K taps by a grouped convolution with kernels of zeros and a one."""
    window, (height, width) = Window(*sides), weight.shape[2:]
    channels, groups = input.shape[1], weight.shape[1] // window.area
    taps = torch.eye(window.area).view(window.area, 1, window.kernel_size, window.kernel_size)
    copies = F.conv2d(
        input,
        taps.repeat(channels, 1, 1, 1),
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=channels,
    )
    copies = copies.view(-1, groups, channels // groups, window.area, height, width)
    return (weight.unflatten(1, (groups, 1, window.area)) * copies).sum(3).flatten(1, 2)


FORMS: dict[str, Callable[..., Tensor]] = {
    "banded matrices": involution2d,
    "slices": slices,
    "one-hot convolution": one_hot,
    "unfold": unfold_involution2d,
}
"""The first is what `rednet.export` writes, for any size; the others are for one size only."""


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Tensor], window: Window) -> None:
        super().__init__()
        self.function, self.sides = function, astuple(window)

    def forward(self, input: Tensor, weight: Tensor) -> Tensor:
        """Return the involution of images with kernels."""
        return self.function(input, weight, *self.sides)


def write_form(name: str, layer: Layer, input: Tensor, weight: Tensor) -> bytes:
    """Return the content of an ONNX file with one involution in a form of `FORMS`."""
    module = _Module(FORMS[name], layer.window)
    sizes = SIZES if FORMS[name] is involution2d else {}
    with torch.no_grad(), sizes_of_one():
        shapes = tuple(dict.fromkeys(sizes, torch.export.Dim.DYNAMIC) for _ in range(2))
        program = torch.export.export(module, (input, weight), dynamic_shapes=shapes)
    return to_onnx(program, {}, {"input": sizes, "weight": sizes})


def runtimes() -> list[str]:
    """Return the runtimes for ONNX files that this machine has."""
    names = [name for name in RUNTIMES if name != "torch"]
    return [name for name in names if unavailable_reason(name) is None]


def measure_forms(layer: Layer, batch: int, turns: int, on_turn: Work = lambda: None) -> list[Row]:
    """Return a row for each form in each runtime, the first being the native operator.

    Args:
        layer: The layer whose involution is written.
        batch: Images per batch.
        turns: Turns of each form.
        on_turn: Called after every round of turns.
    """
    input, weight, _ = random_inputs(layer, batch, torch.float32, CPU, torch.contiguous_format)
    runs: dict[tuple[str, str], Run] = {
        (NATIVE, "torch"): partial(_native, layer.window),
    }
    for name in FORMS if runtimes() else ():
        data = write_form(name, layer, input, weight)
        for runtime in runtimes():
            runs[name, runtime] = RUNTIMES[runtime](data, torch.get_num_threads())
    work: dict[str, Work] = {
        "|".join(key): partial(run, input, weight) for key, run in runs.items()
    }
    times = dict(zip(runs, take_turns(work, turns, CPU, on_turn).values(), strict=True))
    expected = _native(layer.window, input, weight)
    return [
        {
            "form": form,
            "runtime": runtime,
            "layer": layer.name,
            "batch": batch,
            "ms_per_image": asdict(Spread.of([1000 * each / batch for each in own])),
            "over_native": asdict(Ratio.of(own, times[NATIVE, "torch"])),
            "relative_error": _error(runs[form, runtime](input, weight), expected),
        }
        for (form, runtime), own in times.items()
    ]


def _native(window: Window, input: Tensor, weight: Tensor) -> Tensor:
    return involution2d(input, weight, *astuple(window))


def _error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()
