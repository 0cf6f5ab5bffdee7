"""Run the parts of the benchmark that the options select, one after the other."""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import growth, input
from benchmarks.ceilings import check_device, measure_ceilings
from benchmarks.commandline import make_output_folder
from benchmarks.exports import CPU, Exports
from benchmarks.input_sources import Source, open_files, write_shard
from benchmarks.layers import OPERATORS, layers_of
from benchmarks.network import Setting, measure_setting
from benchmarks.onnx_forms import measure_forms
from benchmarks.operator import find_backends, measure_case
from benchmarks.operator_case import OperatorCase
from benchmarks.optimized import Opponents
from benchmarks.pointwise import find_shapes, measure_shape, summarize
from benchmarks.results import Results, Row
from benchmarks.runtimes import left_out
from benchmarks.saving import measure_saving
from rednet.decoding import unavailable_reason
from rednet.errors import InputError
from rednet.machine import describe_machine
from rednet.runtime import keep_freed_memory, set_numerics

FORMS_IMAGE_SIZE, FORMS_LAYER = 224, "stage1"
"""The involution that `onnx-forms` measures: 64 channels of 56x56, 7x7 kernels."""

FILES = "files"
SHORT_SIDES = {FILES: None, "shards": None, "shards-400": 400, "shards-256": 256}
"""Sources of `input`, with the pixels to which longer short sides are reduced."""


def run(options: Namespace) -> None:
    """Run the selected parts.

    Raises:
        InputError: The options name something that this machine or timm does not have.
    """
    device = check_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    parts = PARTS if options.part == "all" else {options.part: PARTS[options.part]}
    for part in parts.values():
        part(options, device)


def _start(part: str, options: Namespace, device: torch.device, settings: int) -> Results:
    make_output_folder(options.output)
    header = {
        "part": part,
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %z}",
        "command": options.command,
        "turns": options.turns,
        "machine": describe_machine(device),
    }
    return Results(part, options.output, header, settings * options.turns)


def _ceilings(options: Namespace, device: torch.device) -> None:
    set_numerics(deterministic=False, tf32=False)
    with _start("ceilings", options, device, 1) as results:
        results.add(measure_ceilings(device, options.turns, results.on_turn))


def _operator(options: Namespace, device: torch.device) -> None:
    set_numerics(deterministic=False, tf32=False)
    layers = layers_of(options.image_size)
    cases = [
        OperatorCase(layers[name], precision, batch, device, torch.get_num_threads())
        for precision, batch, name in product(options.precision, options.batch, options.layer)
    ]
    found = {case.precision: find_backends(options.backend, case) for case in cases}
    with _start("operator", options, device, len(OPERATORS) * len(cases)) as results:
        for precision, (_, left_out) in found.items():
            for name, reason in left_out.items():
                results.say(f"left out in {precision}: {name}: {reason.splitlines()[0]}")
        for case in cases:
            rows = measure_case(case, found[case.precision][0], options.turns, results.on_turn)
            results.add(rows)
            for row in rows:
                results.say(_operator_line(row))


def _operator_line(row: Row) -> str:
    figures = [
        f"{name} {own['ms']['median']:.4g} ms ({own['speedup']['median']:.3g}x, "
        f"{100 * own['share']['median']:.0f} % of {row['ceilings']['binds']}{_on_gpu(own)})"
        for name, own in row["contenders"].items()
    ]
    return f"{row['layer']} {row['precision']} {row['pass']}: {', '.join(figures)}"


def _on_gpu(own: Row) -> str:
    if "gpu" not in own:
        return ""
    share, speedup = own["gpu"]["roofline_share"], own["gpu"]["speedup_over_conv3x3"]
    return f", {100 * share:.0f} % of the roofline, {speedup:.3g}x conv3x3"


def _growth(options: Namespace, device: torch.device) -> None:
    set_numerics(deterministic=False, tf32=False)
    keep_freed_memory()
    found = growth.points(torch.get_num_threads() if device.type == "cpu" else 1)
    quantities = list(dict.fromkeys(point.quantity for point in found))
    names = [options.backend] if options.backend else None
    backends = {
        precision: find_backends(names, found[0].case(precision, device))[0][0]
        for precision in options.precision
    }
    rounds = len(OPERATORS) * len(quantities) * len(backends)
    with _start("growth", options, device, rounds) as results:
        for (precision, name), quantity in product(backends.items(), quantities):
            own = [point for point in found if point.quantity == quantity]
            rows = growth.measure_quantity(
                own, name, precision, device, options.turns, results.on_turn
            )
            results.add([{"backend": name, **row} for row in rows])


def _network(options: Namespace, device: torch.device) -> None:
    if not options.plain:
        keep_freed_memory()
    set_numerics(deterministic=False, tf32=True)
    settings = list(_settings(options, device))
    _check_backend(settings)
    with _start("network", options, device, len(settings)) as results:
        for setting in settings:
            row = measure_setting(setting, options.turns, results.on_turn)
            results.add([row])
            results.say(_network_line(row))


def _settings(options: Namespace, device: torch.device) -> Iterator[Setting]:
    compiled = {"no": (False,), "yes": (True,), "both": (False, True)}[options.compile]
    choices = product(options.depth, options.mode, options.precision, compiled, options.batch)
    for depth, mode, precision, is_compiled, batch in choices:
        yield Setting(
            depth=depth,
            precision=precision,
            mode=mode,
            compiled=is_compiled,
            batch=batch,
            image_size=options.image_size,
            device=device,
            threads=torch.get_num_threads(),
            backend=options.backend,
        )


def _check_backend(settings: Sequence[Setting]) -> None:
    """Check that every setting can run before the first one does."""
    for setting in settings:
        try:
            setting.used_backend  # noqa: B018
        except (ValueError, RuntimeError) as error:
            raise InputError(f"--backend {setting.backend}: {error}") from error


def _network_line(row: Row) -> str:
    times = ", ".join(
        f"{name} {own['ms_per_image']['median']:.4g}" for name, own in row["contenders"].items()
    )
    ratios = ", ".join(f"{name} {ratio['median']:.3f}" for name, ratio in row["ratios"].items())
    memory = row["memory_over_resnet"]
    setting = " ".join(str(row[key]) for key in ("depth", "mode", "precision", "execution"))
    return (
        f"{setting} batch {row['batch']}: ms per image {times}; {ratios}"
        f"{'' if memory is None else f', memory {memory:.3f}'}"
    )


def _pointwise(options: Namespace, device: torch.device) -> None:
    if device.type != "cpu":
        raise InputError("--device: only the CPU has two routines for 1x1 convolutions")
    keep_freed_memory()
    found = {depth: find_shapes(depth, options.image_size) for depth in options.depth}
    with _start(
        "pointwise", options, device, sum(map(len, found.values())) * len(options.batch)
    ) as results:
        for (depth, shapes), batch in product(found.items(), options.batch):
            own = []
            for shape, times in shapes.items():
                rows = measure_shape(shape, times, batch, options.turns, results.on_turn)
                own += [{"depth": depth, **row} for row in rows]
                results.add(own[-len(rows) :])
            for line in summarize(own):
                results.say(f"RedNet-{depth}, batch {batch}, {line}")


def _input(options: Namespace, device: torch.device) -> None:
    keep_freed_memory()
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    rounds = len(SHORT_SIDES) * len(options.stage) + len(options.workers)
    with _start("input", options, CPU, rounds) as results, TemporaryDirectory() as folder:
        if reason := unavailable_reason():
            results.say(f"rednet decodes with Pillow only: {reason}")
        files = open_files(options.images, options.number, Path(folder))
        for name, short_side in SHORT_SIDES.items():
            source: Source = files
            if name != FILES:
                source = write_shard(files, short_side, Path(folder, f"{name}.tar"))
            rows = input.measure_source(
                name,
                source,
                files,
                options.image_size,
                options.turns,
                results.on_turn,
                clock,
                options.stage,
            )
            for row in rows:
                results.add([row])
                results.say(_input_line(row))
        for workers in options.workers:
            loaders = input.measure_loaders(
                FILES, files, options.image_size, workers, options.turns, results.on_turn
            )
            results.add(loaders)
            for row in loaders:
                results.say(_input_line(row))


def _input_line(row: Row) -> str:
    rate, ratio = row["images_per_second"]["median"], row["over_baseline"]
    return (
        f"{row['source']}: {row['stage']}, {row['contender']}: {rate:.0f} images/s, "
        f"{ratio['median']:.2f} ({ratio['lower']:.2f} to {ratio['upper']:.2f}) times "
        f"{row['baseline']}"
    )


def _saving(options: Namespace, device: torch.device) -> None:
    keep_freed_memory()
    with _start("saving", options, device, len(options.depth)) as results:
        for depth in options.depth:
            rows = measure_saving(depth, device, options.turns, options.output, results.on_turn)
            results.add(rows)


def _export(options: Namespace, device: torch.device) -> None:
    settings = len(options.depth) * len(options.export_batch)
    with _start("export", options, CPU, settings) as results:
        for line in left_out():
            results.say(line)
        for depth in options.depth:
            exports = Exports(depth, options.image_size)
            for batch in options.export_batch:
                results.add(exports.measure(batch, options.turns, results.on_turn))


def _optimized(options: Namespace, device: torch.device) -> None:
    keep_freed_memory()
    settings = len(options.depth) * len(options.optimized_precision) * len(options.export_batch)
    with _start("optimized", options, CPU, settings) as results:
        for line in left_out():
            results.say(line)
        for depth in options.depth:
            opponents = Opponents(depth, options.image_size, options.clock)
            choices = product(options.optimized_precision, options.export_batch)
            for precision, batch in choices:
                rows = opponents.measure(precision, batch, options.turns, results.on_turn)
                results.add(rows)
                for row in rows:
                    results.say(_optimized_line(row))


def _optimized_line(row: Row) -> str:
    time, ratio = row["ms_per_image"]["median"], row["over_best_resnet"]
    spread = f"{ratio['median']:.2f} ({ratio['lower']:.2f} to {ratio['upper']:.2f})"
    return (
        f"{row['depth']} {row['precision']} batch {row['batch']}: {row['form']} {time:.4g} ms per "
        f"image, {spread} times as fast as {row['best_resnet']}"
    )


def _onnx_forms(options: Namespace, device: torch.device) -> None:
    with _start("onnx-forms", options, CPU, len(options.form_batch)) as results:
        for line in left_out():
            results.say(line)
        layer = layers_of(FORMS_IMAGE_SIZE)[FORMS_LAYER]
        for batch in options.form_batch:
            results.add(measure_forms(layer, batch, options.turns, results.on_turn))


PARTS = {
    "ceilings": _ceilings,
    "operator": _operator,
    "growth": _growth,
    "network": _network,
    "pointwise": _pointwise,
    "input": _input,
    "saving": _saving,
    "export": _export,
    "optimized": _optimized,
    "onnx-forms": _onnx_forms,
}
