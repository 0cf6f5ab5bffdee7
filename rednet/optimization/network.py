"""`rednet.optimize`: a network for inference on a CPU, several layers in one operator."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from rednet.best_effort import reason_of
from rednet.errors import InputError
from rednet.export.program import inference_program
from rednet.ops.plain_tensors import is_plain_eager
from rednet.optimization.packing import pack, unavailable_reason
from rednet.program import say

TURNS = 3
"""Passes by whose median the speed is told, for each of the two networks."""
TOLERANCES = {torch.float32: 1e-4}
"""Largest difference of an output, relative to the largest output, with which a graph is used."""


class OptimizedNetwork(nn.Module):
    """A network in evaluation mode, without gradients.

    Images of the example's size run through the optimized graph, in batches of any number. Others,
    and all if the network could not be optimized, run through a copy of the original; the first
    time, a line says so. The weights are constants: train the original and optimize it again.

    Attributes:
        original: A copy of the network.
        reason: Why the network could not be optimized; None if it could.
        dtype: Dtype in which it computes; images may also be float32.
        image_shape: (C, H, W) of the images that are optimized for.
        num_classes: Outputs of the classifier, as timm's networks tell them; None if unknown.
    """

    def __init__(self, original: nn.Module, dtype: torch.dtype, example: Tensor) -> None:
        super().__init__()
        self.original = original
        self.dtype = dtype
        self.image_shape = tuple(example.shape[1:])
        self.num_classes = getattr(original, "num_classes", None)
        self.reason: str | None = None
        # In a list, so that it is no submodule: its packed weights cannot be saved or moved.
        self._graphs: list[GraphModule] = []
        self._told: set[tuple[int, ...]] = set()
        self._weights_dtype = _weights_dtype(original)
        super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to what the network returns for them."""
        if not self._graphs or not self._fits(images):
            self._tell(images)
            return self.run_original(images)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            images = images.to(self.dtype, memory_format=torch.channels_last)
            return self._graphs[0](images)

    def train(self, mode: bool = True) -> "OptimizedNetwork":
        """Refuse training; evaluation mode is the only one."""
        if mode:
            raise RuntimeError("an optimized network cannot be trained: train the original")
        return self

    def _fits(self, images: Tensor) -> bool:
        """Return whether the graph is for such images, and nothing observes single operations."""
        return (
            is_plain_eager()
            and type(images) is Tensor
            and images.is_cpu
            and images.shape[1:] == self.image_shape
            and len(images) > 0
            and images.dtype in (torch.float32, self.dtype)
        )

    @torch.no_grad()
    def run_original(self, images: Tensor) -> Tensor:
        """Return what the original network returns, at the same precision."""
        enabled = self.dtype != self._weights_dtype
        with torch.autocast("cpu", self.dtype if enabled else None, enabled):
            return self.original(images)

    def _tell(self, images: Tensor) -> None:
        """Say, once for each size, that images are not of the size that is optimized for."""
        shape = tuple(images.shape[1:])
        if self._graphs and shape != self.image_shape and shape not in self._told:
            self._told.add(shape)
            say(
                f"optimized for images of {_sizes(self.image_shape)}: those of {_sizes(shape)} "
                "run as before; rednet.optimize(model, example) makes another network for them"
            )


def optimize(model: nn.Module, example: Tensor, *, quiet: bool = False) -> OptimizedNetwork:
    """Return a network that computes the same faster, for inference on a CPU.

    Batch normalisation is folded into the convolutions and involutions before it, which also take
    the ReLU and the sum with the shortcut; weights are packed for oneDNN. Under
    `torch.autocast("cpu", torch.bfloat16)`, or with weights of that dtype, the result computes in
    bfloat16, otherwise in float32, whatever the autocast of its calls is. No compiler is needed,
    except for the involution's kernels. The model stays as it is.

    Args:
        model: RedNet or another network of images, such as timm's ResNet-50; its evaluation mode
            is optimized.
        example: Images (N, C, H, W) of the size to optimize for; other numbers of images run too.
        quiet: Neither measure the speed nor print a line.

    Returns:
        The network. If the model cannot be optimized, it runs as before, and a line says why.

    Raises:
        InputError: The example is no batch of images.
    """
    if not isinstance(example, Tensor) or example.dim() != 4 or not len(example):
        found = getattr(example, "shape", type(example).__name__)
        raise InputError(f"example must be images (N, C, H, W), got {tuple(found)}")
    original = copy.deepcopy(model).eval().requires_grad_(False)
    network = OptimizedNetwork(original, _precision(original), example)
    start = time.perf_counter()
    try:
        network._graphs.append(_make_graph(network, example))
        error = _relative_error(network, example)
    except Exception as failure:  # of any part of torch
        network._graphs.clear()
        network.reason = str(failure) if isinstance(failure, InputError) else reason_of(failure)
    seconds = time.perf_counter() - start
    if not quiet:
        say(
            f"not optimized, runs as before: {network.reason}"
            if network.reason
            else f"optimized in {seconds:.1f} s: {_compare(network, example)}, error {error:.0e}"
        )
    return network


def _precision(model: nn.Module) -> torch.dtype:
    """Return the dtype of a network's convolutions on the CPU, in the current context."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return _weights_dtype(model)


def _weights_dtype(model: nn.Module) -> torch.dtype:
    floating = (tensor.dtype for tensor in model.parameters() if tensor.is_floating_point())
    return next(floating, torch.float32)


def _make_graph(network: OptimizedNetwork, example: Tensor) -> GraphModule:
    """Return the optimized graph.

    Raises:
        InputError: The network, or this machine, does not permit it.
    """
    devices = {tensor.device.type for tensor in (*network.original.parameters(), example)}
    if devices != {"cpu"}:
        raise InputError(f"only networks on the CPU are optimized, this is on {max(devices)}")
    reason = unavailable_reason(network.dtype)
    if reason is not None:
        raise InputError(reason)
    dtype = _weights_dtype(network.original)
    images = torch.zeros(2, *example.shape[1:], dtype=dtype)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        program = inference_program(network.original, images, dtype=network.dtype)
        module = program.module(check_guards=False)
        return pack(module, len(example))


def _relative_error(network: OptimizedNetwork, example: Tensor) -> float:
    """Return the largest difference of any output to the original's, relative to the largest.

    Raises:
        InputError: It is too large.
    """
    expected, found = network.run_original(example).double(), network(example).double()
    if not expected.isfinite().all():
        return 0.0
    scale = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    error = ((found - expected).abs().max() / scale).item()
    if not error < TOLERANCES.get(network.dtype, float("inf")):
        raise InputError(f"the optimized network has outputs with a relative error of {error:.0e}")
    return error


def _compare(network: OptimizedNetwork, example: Tensor) -> str:
    """Measure the speed before and after, in turns, and return it in words."""
    before, after = _take_turns([network.run_original, network], example)
    return (
        f"{1000 * before:.1f} -> {1000 * after:.1f} ms a batch of {len(example)} "
        f"({before / after:.2f} times as fast)"
    )


def _take_turns(runs: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> list[float]:
    """Return the median time of each function in seconds."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(TURNS):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run(images)
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
