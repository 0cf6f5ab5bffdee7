"""Train a network."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rednet import cli
from rednet.commands.search import search
from rednet.commands.sweep import conclude_sweep
from rednet.config import Config
from rednet.errors import InputError, StartAgain
from rednet.memory import explain, is_out_of_memory
from rednet.models.variants import network_label
from rednet.program import announce, announce_torch, say
from rednet.ranks.pulse import PULSE
from rednet.signals import StopSignals
from rednet.wording import count, printable

if TYPE_CHECKING:
    from rednet.data import Splits
    from rednet.evaluation import Evaluation
    from rednet.training.metrics import EpochMetrics
    from rednet.training.trainer import Trainer
    from rednet.weights import Checkpoint

Monitor = Callable[["EpochMetrics"], str | None]
"""Is told of each epoch that was evaluated; returns why the run ends, if it does."""


def train(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    unused = ("data.split", "trainer.optimize")
    return cli.run("train", _train, argv, unused=unused, conclude=conclude_sweep, search=_search)


def _search(config: Config, line: cli.CommandLine) -> None:
    search(config, line, _train)


def _train(config: Config, explicit_keys: frozenset[str], monitor: Monitor | None = None) -> None:
    with StopSignals().caught() as signals:
        _train_until_stopped(config, explicit_keys, signals, monitor)


def _train_until_stopped(
    config: Config, explicit_keys: frozenset[str], signals: StopSignals, monitor: Monitor | None
) -> None:
    announce_torch()
    from rednet.build.batch_size import settle_batch_size
    from rednet.build.data import build_splits
    from rednet.build.folders import run_folder, write_config
    from rednet.build.locking import lock_folder
    from rednet.build.logging import require_loggers
    from rednet.build.resuming import find_checkpoint
    from rednet.build.runtime import build_runtime
    from rednet.build.starting import follow_weights
    from rednet.build.training import build_trainer
    from rednet.ops.backends import keep_backends

    require_loggers(config.logger)
    config, start = follow_weights(config, explicit_keys)
    label = f"{_label(config)}-{config.data.name}"
    name, parent = config.output_dir, "runs"
    if config.debug is not None:  # the run itself stays as it is
        label, parent = f"debug-{config.debug.mode}-{label}", name or parent
        name = None
    with (
        build_runtime(config.trainer, explicit_keys) as runtime,
        run_folder(name, label, runtime, parent) as folder,
        lock_folder(folder, runtime) as lock,
        keep_backends(),
    ):
        announce("looking for a run to continue")
        found_in = folder if config.output_dir is None else Path(config.output_dir)
        checkpoint = runtime.on_primary(lambda: find_checkpoint(config, found_in))
        announce("opening the data and building the network")
        splits = build_splits(config.data, config.seed)
        config = settle_batch_size(config, checkpoint, splits, runtime)
        if config.debug is not None:
            from rednet.debugging import DebugJob, look_for_mistakes

            job = DebugJob(
                config, runtime, folder, splits, start, checkpoint, signals, _print_setup
            )
            if runtime.is_primary:
                write_config(folder, config)
            look_for_mistakes(job)
            return
        trainer = build_trainer(config, runtime, folder, start, explicit_keys, signals, splits)
        trainer.saver.check_folder, trainer.monitor = lock.renew, monitor
        _fit(trainer, config, checkpoint, splits)


def _fit(
    trainer: "Trainer", config: Config, checkpoint: "Checkpoint | None", splits: "Splits"
) -> None:
    """Train, from a checkpoint if there is one, and say how it went."""
    from rednet.build.checking import check_validation, is_checked
    from rednet.build.data_report import report_data
    from rednet.build.folders import require_space, write_config
    from rednet.build.provenance import record_start
    from rednet.build.resuming import resume
    from rednet.ops.broken_backend import BackendFailure
    from rednet.training.saver import estimate_bytes

    runtime, folder = trainer.runtime, trainer.log.folder
    if checkpoint is not None:
        resume(trainer, checkpoint, force=config.resume == "force")
    description = trainer.saver.description
    is_new = checkpoint is None or not is_checked(checkpoint.content, description)
    if is_new and not trainer.is_finished:
        check_validation(trainer.val_loader.dataset.source, config.data, runtime)
    runtime.on_primary(lambda: require_space(folder, estimate_bytes(trainer.state_dict())))
    is_finished = trainer.is_finished
    if not is_finished:
        record_start(folder, runtime, checkpoint)
    if runtime.is_primary:
        report_data(splits, folder)
        write_config(folder, config, finished=is_finished)
        _print_setup(trainer, config)
    try:
        evaluation = trainer.fit()
    except BackendFailure as error:
        raise StartAgain(f"{error}; the same command resumes the run in {folder}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(_advise(error, trainer, config)) from error
    PULSE.is_patient = True  # what follows may take long on the first rank
    if runtime.is_primary:
        _conclude(trainer, config, evaluation, was_finished=is_finished)


def _conclude(
    trainer: "Trainer", config: Config, evaluation: "Evaluation | None", *, was_finished: bool
) -> None:
    """Say how the run ended, and draw its curves unless it had ended before."""
    if reason := trainer.ended or trainer.settings.early_stopping.reason(trainer.log.rows):
        say(reason)
    if was_finished:
        say(f"nothing left to do after step {trainer.counters.global_step}")
    else:
        announce("drawing the curves")
        _draw_curves(config, trainer.log.folder)
    _print_result(trainer, evaluation)


def _advise(error: Exception, trainer: "Trainer", config: Config) -> str:
    """Return a line about want of memory: what takes less, and what is saved."""
    size, steps = config.data.batch_size, config.trainer.grad_accum_steps
    line = explain(error, size, trainer.batches.loader.num_workers)
    if size > 1 and size % 2 == 0:
        line += f"; with trainer.grad_accum_steps={2 * steps} it is the same run"
    last = trainer.saver.store.last
    saved = f"its last checkpoint is {last}" if last.exists() else "nothing was saved yet"
    return f"{line}; {printable(saved)}"


def _print_setup(trainer: "Trainer", config: Config) -> None:
    """Print a table of what is trained on what; its last row, the duration, follows later."""
    freezing = trainer.train_step.freezing
    assert freezing is not None
    num_val_samples = len(trainer.val_loader.dataset)
    sampler, optimizer = trainer.batches.sampler, config.optimizer
    lr = f"lr {trainer.schedule.lr:g}"
    if optimizer.lr_base_size is not None:
        lr += f" = {optimizer.lr:g} x {sampler.global_batch} / {optimizer.lr_base_size}"
    runtime = trainer.runtime
    processes = "" if runtime.world_size == 1 else f", {count(runtime.world_size, 'process')}"
    rows = {
        "network": f"{_label(config)}: {freezing.describe()}",
        "data": f"{config.data.name}: {sampler.num_samples} training and "
        f"{count(num_val_samples, 'validation image')}, {count(trainer.num_classes, 'class')}",
        "device": f"{runtime.device}, {runtime.precision}{processes}",
        "folder": printable(trainer.log.folder),
        "schedule": f"{lr} at global batch {sampler.global_batch}; "
        f"{count(trainer.schedule.epochs, 'epoch')} of {count(sampler.steps_per_epoch, 'step')}",
    }
    for name, text in rows.items():
        say(f"{name:<10} {text}")


def _label(config: Config) -> str:
    model = config.model
    return "run" if model is None else network_label(model.name, model.options)


def _print_result(trainer: "Trainer", evaluation: "Evaluation | None") -> None:
    """Print the best accuracy and the run's folder."""
    if evaluation is not None and evaluation.unreadable:
        say(f"warning: {count(len(evaluation.unreadable), 'validation image')} could not be read")
    folder, best = trainer.log.folder, trainer.saver.store.best_top1
    say(
        f"{'' if best is None else f'best top-1 {best:.2f} %; '}"
        f"log, curves and checkpoints are in {printable(folder)}"
    )


def _draw_curves(config: Config, folder: Path) -> None:
    """Draw the curves, if possible."""
    from rednet.best_effort import BestEffort
    from rednet.training.metrics import read_metrics

    path = folder / "curves.png"
    with BestEffort("the run is complete without it").write(str(path)):
        from rednet.plots import draw_curves

        title = f"{_label(config)} on {config.data.name}: {folder.resolve().name}"
        draw_curves(read_metrics(folder), path, title)
