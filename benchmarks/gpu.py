"""What the operator's benchmark adds on a GPU: roofline, convolution, CUDA graphs.

Short kernels take less time than Python needs to launch them. A turn therefore replays a CUDA graph
of many calls. Tensors that fit into the GPU's cache stay there between calls, for the contenders
and for the copy that they are compared with.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.ceilings import Multiplier, make_copier
from benchmarks.gpus import GPUS
from benchmarks.layers import OPERATORS, random_inputs
from benchmarks.operator_case import OperatorCase
from benchmarks.turns import Ratio, Spread, Work, take_turns

CONVOLUTION, PEAK_COPY = "conv3x3", "peak copy"
PEAK_BYTES = 2**30
"""Bytes moved by the copy that measures the bandwidth; more than any cache holds."""
MOST_CALLS = 20
"""Calls in a graph, fewer if they take longer than `GRAPH_SECONDS`."""
GRAPH_SECONDS = 0.005


def applies(device: torch.device) -> bool:
    """Return whether the operator is measured as on a GPU."""
    return device.type == "cuda"


def make_convolution(case: OperatorCase) -> dict[str, Work]:
    """Return the two passes of the 3x3 convolution that the involution replaces."""
    channels = case.layer.channels
    layout = torch.channels_last
    input, _, grad = random_inputs(case.layer, case.batch, case.dtype, case.device, layout)
    kernel = torch.randn(channels, channels, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel = (kernel / channels).to(case.device, case.dtype, memory_format=layout)
    apply = partial(F.conv2d, stride=case.layer.stride, padding=1)

    def forward() -> Tensor:
        return apply(input, kernel)

    def forward_backward() -> Sequence[Tensor]:
        leaves = input.detach().requires_grad_(), kernel.detach().requires_grad_()
        return torch.autograd.grad(apply(*leaves), leaves, grad)

    return dict(zip(OPERATORS, (forward, forward_backward), strict=True))


def make_peak_copy(device: torch.device) -> Work:
    """Return a copy that measures the bandwidth of device memory."""
    return make_copier(PEAK_BYTES, device)


def take_turns_in_graphs(
    contenders: Mapping[str, Work],
    turns: int,
    device: torch.device,
    on_turn: Work = lambda: None,
) -> dict[str, list[float]]:
    """Do what `take_turns` does, without the time that Python takes for launches."""
    with torch.cuda.device(device):
        pool = torch.cuda.graph_pool_handle()
        calls = {name: calls_in_graph(work) for name, work in contenders.items()}
        graphs = {name: capture(work, calls[name], pool) for name, work in contenders.items()}
        times = take_turns(graphs, turns, device, on_turn)
    return {name: [seconds / calls[name] for seconds in own] for name, own in times.items()}


def calls_in_graph(work: Work) -> int:
    """Warm up, which compiles and selects algorithms, and return the number of calls in a graph."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    # torch requires that the work has run in a side stream before it is captured.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
        start.record()
        work()
        end.record()
    torch.cuda.current_stream().wait_stream(stream)
    end.synchronize()
    seconds = start.elapsed_time(end) / 1000
    return min(MOST_CALLS, math.ceil(GRAPH_SECONDS / max(1e-7, seconds)))


def capture(work: Work, calls: int, pool: Any) -> Work:
    """Capture `calls` calls in a graph; all graphs share `pool`, since one runs at a time."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        for _ in range(calls):
            work()
    return graph.replay


def describe_gpu(
    case: OperatorCase, kind: str, multiplier: Multiplier, times: Mapping[str, list[float]]
) -> dict[str, Any]:
    """Return the figures of the GPU for one pass.

    The roofline is the longer of two times: moving every tensor once at the bandwidth of a large
    copy, and computing the multiply-adds.
    """
    bandwidth = PEAK_BYTES / Spread.of(times[PEAK_COPY]).median
    arithmetic = multiplier.operations / Spread.of(times["fma"]).median
    moving = case.bytes_moved / bandwidth
    computing = case.layer.operations(case.batch) / arithmetic
    return {
        "peak_copy_gbs": bandwidth / 1e9,
        "datasheet_gbs": datasheet_gbs(case.device),
        "roofline_ms": 1000 * OPERATORS[kind] * max(moving, computing),
        "roofline_binds": "memory" if moving >= computing else "fma",
        "convolution_ms": asdict(Spread.of([1000 * time for time in times[CONVOLUTION]])),
    }


def compare(
    own: Sequence[float], figures: Mapping[str, Any], convolution: Sequence[float], bytes_moved: int
) -> dict[str, float | None]:
    """Compare a contender with the roofline, the datasheet's bandwidth and the convolution.

    Args:
        own: Seconds of the contender, turn by turn.
        figures: Result of `describe_gpu`.
        convolution: Seconds of the convolution, turn by turn.
        bytes_moved: Bytes that the pass has to read and write.
    """
    milliseconds = 1000 * Spread.of(own).median
    sheet = figures["datasheet_gbs"]
    return {
        "roofline_share": figures["roofline_ms"] / milliseconds,
        "datasheet_share": None if sheet is None else bytes_moved / 1e6 / milliseconds / sheet,
        "speedup_over_conv3x3": Ratio.of(convolution, own).median,
    }


def datasheet_gbs(device: torch.device) -> float | None:
    """Return the datasheet's memory bandwidth in GB/s; None for a GPU that is not in the table."""
    bandwidths = {gpu.device_name: gpu.bandwidth / 1e9 for gpu in GPUS}
    return bandwidths.get(torch.cuda.get_device_name(device))
