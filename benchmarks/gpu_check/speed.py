"""Stage "speed": each operator of RedNet-50's layers in bfloat16, against roofline and convolution.

The times of the operators are replayed CUDA graphs, as in `benchmarks/gpu.py`.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import gpu
from benchmarks.ceilings import make_copier, make_multiplier
from benchmarks.gpu_check.stages import Emit, Row, Settings
from benchmarks.gpu_check.subjects import SUBJECTS, make_tensors
from benchmarks.layers import layers_of
from benchmarks.operator_case import OperatorCase
from benchmarks.turns import Spread, Work, take_turns
from rednet.runtime import set_numerics

LAYERS = ("stage1", "stage2", "stage3", "stage4", "stage2-first", "stage3-first", "stage4-first")
BATCH, TURNS = 256, 5
PEAK = gpu.PEAK_COPY


def run(settings: Settings, emit: Emit) -> None:
    """Emit a row for each layer: microseconds an image of every operator that runs."""
    set_numerics(deterministic=False, tf32=False)
    device = torch.device(settings.device)
    layers = layers_of(64 if settings.tiny else 224)
    for precision in ("fp32",) if settings.tiny else ("bf16", "fp32"):
        for name in LAYERS[3:4] if settings.tiny else LAYERS:
            if settings.seconds_left() < 3:
                emit("no time was left for more layers")
                return
            case = OperatorCase(layers[name], precision, 2 if settings.tiny else BATCH, device, 1)
            try:
                row = measure(case, 1 if settings.tiny else TURNS)
            except Exception as error:  # of one layer: the others may run
                message = " ".join(str(error).split())[:200]
                emit(f"{name} {precision}: {type(error).__name__}: {message}", ok=False)
                continue
            emit(_line(row), **row)


def measure(case: OperatorCase, turns: int) -> Row:
    """Return the row of a layer."""
    works = {name: work for name in SUBJECTS if (work := make_work(name, case)) is not None}
    on_gpu = gpu.applies(case.device)
    multiplier = make_multiplier(case.device, case.dtype)
    ceilings: dict[str, Work] = {"fma": multiplier.run}
    ceilings[PEAK] = gpu.make_peak_copy(case.device) if on_gpu else make_copier(2**20, case.device)
    take = gpu.take_turns_in_graphs if on_gpu else take_turns
    times = take({**ceilings, **works, **make_convolutions(case)}, turns, case.device)
    medians = {name: Spread.of(values).median for name, values in times.items()}
    bandwidth = (gpu.PEAK_BYTES if on_gpu else 2**20) / medians[PEAK]
    moving = case.bytes_moved / bandwidth
    computing = case.layer.operations(case.batch) * medians["fma"] / multiplier.operations
    return {
        "layer": case.layer.name,
        "precision": case.precision,
        "batch": case.batch,
        "us_per_image": {name: _microseconds(medians[name], case) for name in medians},
        "quartiles_us_per_image": {
            name: [_microseconds(value, case) for value in (spread.lower, spread.upper)]
            for name, spread in ((name, Spread.of(values)) for name, values in times.items())
        },
        "peak_copy_gbs": bandwidth / 1e9,
        "roofline_us_per_image": _microseconds(max(moving, computing), case),
        "roofline_binds": "memory" if moving >= computing else "fma",
    }


def make_work(name: str, case: OperatorCase) -> Work | None:
    """Return an operator on channels_last tensors, or None if it cannot run."""
    subject, layer = SUBJECTS[name], case.layer
    device = str(case.device)
    tensors = make_tensors(subject, layer, case.batch, case.dtype, device, "channels_last")
    if subject.unavailable_reason(layer, tensors) is not None:
        return None
    return partial(subject.compute, layer, tensors)


def make_convolutions(case: OperatorCase) -> dict[str, Work]:
    """Return the forward pass, and both passes, of the 3x3 convolution of equal width."""
    layer, options = case.layer, {"device": case.device, "dtype": case.dtype}
    input, grad, kernel = (
        torch.randn(shape, **options).to(memory_format=torch.channels_last)
        for shape in (
            (case.batch, *layer.input_shape),
            (case.batch, *layer.output_shape),
            (layer.channels, layer.channels, 3, 3),
        )
    )
    apply = partial(F.conv2d, stride=layer.stride, padding=1)

    def both() -> Sequence[Tensor]:
        leaves = input.detach().requires_grad_(), kernel.detach().requires_grad_()
        return torch.autograd.grad(apply(*leaves), leaves, grad)

    return {"conv3x3": partial(apply, input, kernel), "conv3x3 both": both}


def _microseconds(seconds: float, case: OperatorCase) -> float:
    return float(f"{1e6 * seconds / case.batch:.4g}")


def _line(row: Row) -> str:
    times = {name: time for name, time in row["us_per_image"].items() if name not in (PEAK, "fma")}
    texts = ", ".join(f"{name} {time:.3g}" for name, time in times.items())
    roofline = f"roofline {row['roofline_us_per_image']:.3g} ({row['roofline_binds']})"
    return f"{row['layer']} {row['precision']}, us an image: {texts}, {roofline}"
