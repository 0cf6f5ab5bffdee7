"""RedNet as `rednet.optimize` makes it, against ResNet in the fastest runtimes for CPUs."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

import rednet.registry  # noqa: F401 (registers the names with timm)
from benchmarks.exports import CPU, make_subject
from benchmarks.runtimes import Run, open_onnxruntime, open_openvino, unavailable_reason
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet.export import Options, Subject, write_program
from rednet.optimization import optimize
from rednet.runtime import Runtime

Row = dict[str, Any]
RED, RES = "rednet", "resnet"
OPTIMIZED, EAGER = "optimized", "eager"
HINTS = {"fp32": "f32", "bf16": "bf16"}
"""Precisions that are compared, as OpenVINO names them."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""The processor's time depends less on other work of the machine; it counts every thread."""


class Opponents:
    """The networks of one depth, in all forms that this machine can run.

    Args:
        depth: Depth of RedNet, and of ResNet.
        image_size: Side of the images in pixels.
        clock: A key of `CLOCKS`.
    """

    def __init__(self, depth: int, image_size: int, clock: str = "wall") -> None:
        self.depth, self.clock = depth, clock
        self.subjects = {name: make_subject(name, depth, image_size) for name in (RED, RES)}
        runtimes = ("onnxruntime", "openvino")
        self.runtimes = [name for name in runtimes if unavailable_reason(name) is None]
        self.file = write_program(self.subjects[RES], "onnx", Options()) if self.runtimes else b""

    def measure(
        self, precision: str, batch: int, turns: int, on_turn: Work = lambda: None
    ) -> list[Row]:
        """Return a row for each form.

        Args:
            precision: A key of `HINTS`.
            batch: Images per batch.
            turns: Turns of each form.
            on_turn: Called after every round of turns.
        """
        images = self.subjects[RED].images(batch)
        runs = self._runs(precision, images)
        work: dict[str, Work] = {name: partial(run, images) for name, run in runs.items()}
        times = take_turns(work, turns, CPU, on_turn, CLOCKS[self.clock])
        best = min((name for name in runs if name.startswith(RES)), key=lambda n: _median(times[n]))
        return [
            {
                **{"depth": self.depth, "precision": precision, "batch": batch, "form": name},
                "clock": self.clock,
                "ms_per_image": asdict(Spread.of([1000 * t / batch for t in times[name]])),
                "best_resnet": best,
                "over_best_resnet": asdict(Ratio.of(times[best], times[name])),
            }
            for name in runs
        ]

    def _runs(self, precision: str, images: Tensor) -> Mapping[str, Run]:
        threads = torch.get_num_threads()
        runs: dict[str, Run] = {}
        if "onnxruntime" in self.runtimes and precision == "fp32":  # it has no bfloat16 on CPUs
            runs[f"{RES} onnxruntime"] = open_onnxruntime(self.file, threads)
        if "openvino" in self.runtimes:
            runs[f"{RES} openvino"] = open_openvino(self.file, threads, HINTS[precision])
        for name, subject in self.subjects.items():
            runs[f"{name} {EAGER}"] = _run_eagerly(subject, precision)
            runs[f"{name} {OPTIMIZED}"] = _optimize(subject, precision, images)
        return runs


def _median(times: list[float]) -> float:
    return Spread.of(times).median


def _run_eagerly(subject: Subject, precision: str) -> Run:
    runtime = Runtime(CPU, precision)
    model = runtime.place(subject.model)

    @torch.no_grad()
    def run(images: Tensor) -> Tensor:
        with runtime.autocast():
            return model(runtime.place_images(images))

    return run


def _optimize(subject: Subject, precision: str, images: Tensor) -> Run:
    with Runtime(CPU, precision).autocast():
        network = optimize(subject.model, images, quiet=True)
    if network.reason:
        raise RuntimeError(f"{subject.network['name']} is not optimized: {network.reason}")
    return network
