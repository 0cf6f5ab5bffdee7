"""Classify images."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rednet import cli
from rednet.commands.evaluate import TRAINING_ONLY
from rednet.config import PredictionConfig, to_yaml
from rednet.config.data_effects import KEYS_OF_SOME_DATA
from rednet.errors import InputError, Stopped
from rednet.program import announce, announce_torch, say, working
from rednet.signals import StopSignals
from rednet.wording import count, printable

if TYPE_CHECKING:
    from rednet.build.prediction import PredictionSetup
    from rednet.data.not_read import NotRead
    from rednet.predictions.files import Write
    from rednet.predictions.results import Results
    from rednet.runtime import Runtime

UNUSED = (
    *KEYS_OF_SOME_DATA,
    *TRAINING_ONLY,
    "data.class_order",
    "data.name",
    "data.on_unreadable",
    "data.root",
    "data.split",
    "data.val_fraction",
    "data.val_samples",
)


def predict(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("predict", _predict, argv, unused=UNUSED)


def _predict(config: PredictionConfig, explicit_keys: frozenset[str]) -> None:
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights of the network")
    if config.images is None:
        raise InputError("images=... is needed: a file, a folder, a pattern, or - for stdin")
    with StopSignals().caught() as signals:
        _predict_until_stopped(config, config.images, explicit_keys, signals)


def _predict_until_stopped(
    config: PredictionConfig,
    names: Sequence[str],
    explicit_keys: frozenset[str],
    signals: StopSignals,
) -> None:
    announce_torch()
    from rednet.build.folders import run_folder
    from rednet.build.prediction import build_prediction
    from rednet.build.runtime import build_runtime
    from rednet.data.image_paths import count_images
    from rednet.data.not_read import NotRead

    announce("looking for the images")
    total = count_images(names, not_read := NotRead())
    announce("reading the weights")
    with build_runtime(config.trainer, explicit_keys) as runtime:
        if total is None and runtime.world_size > 1:
            raise InputError("images=-: several processes cannot share stdin")
        setup = build_prediction(config, explicit_keys, runtime)
        label = f"predict-{setup.predictor.name}"
        with run_folder(config.output_dir, label, runtime) as folder:
            if runtime.is_primary:
                images = "images from stdin" if total is None else count(total, "image")
                print(setup.describe(images), flush=True)
            results = _run(setup, total, not_read, folder, runtime, signals)
            stopped = signals.agreed(runtime)
            # The others wait: torchrun ends all processes as soon as one ends with an error.
            runtime.on_primary(lambda: _report(setup, results, folder))
            if stopped:
                of = "" if total is None else f" of {total}"
                done = f"{results.total}{of} done; the results so far are in {printable(folder)}"
                raise Stopped(stopped, done)
            results.require_some()


def _run(
    setup: "PredictionSetup",
    total: int | None,
    not_read: "NotRead",
    folder: Path,
    runtime: "Runtime",
    signals: StopSignals,
) -> "Results":
    """Predict all images, up to a signal, and write the rows of each batch."""
    from rednet.build.prediction import build_stream, find_paths, open_files
    from rednet.data.not_read import NotRead
    from rednet.predictions.results import Results
    from rednet.predictions.stream import gather_rows
    from rednet.training.progress import Progress

    config = setup.config
    passed_over = NotRead()  # once more, unless stdin could not be read before
    not_read = passed_over if total is None else not_read
    results = Results(setup.labels, config.sheet_images, total, not_read)
    stream = build_stream(setup, total, runtime)
    paths = find_paths(setup, folder, passed_over)
    progress = Progress(
        total, label="prediction", every=config.trainer.log_every, enabled=runtime.is_primary
    )
    files: AbstractContextManager[list[Write]] = nullcontext([])
    if runtime.is_primary:
        files = open_files(setup, folder)
    with signals.deferred(), files as writers:
        for found in gather_rows(stream, paths, runtime, signals):
            for write in (*writers, results.add):
                write(found)
            progress.advance(len(found))
    progress.close()
    results.failure = stream.failure
    return results


def _report(setup: "PredictionSetup", results: "Results", folder: Path) -> None:
    """Write the configuration and the contact sheet; print the table and where the files are."""
    from rednet.build.data_report import report_not_read
    from rednet.build.prediction import draw_sheet, list_files

    (folder / "prediction.yaml").write_text(to_yaml(setup.config))
    with working("drawing the sheet"):
        draw_sheet(setup, results, folder)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in results.table.lines(width):
        say(line)
    report_not_read(results.not_read, folder)
    print(results.describe(folder, list_files(setup, folder)), flush=True)
