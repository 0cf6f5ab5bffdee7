"""Evaluate a checkpoint."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rednet import cli
from rednet.config import EvaluationConfig, to_yaml
from rednet.errors import InputError
from rednet.program import announce, announce_torch, say
from rednet.wording import printable

if TYPE_CHECKING:
    from rednet.build.evaluation import EvaluationSetup
    from rednet.evaluation import Observer
    from rednet.runtime import Runtime

TRAINING_ONLY = (
    "data.train_samples",
    "data.check",
    "data.max_unreadable",
    "data.sampler",
    "trainer.grad_accum_steps",
    "trainer.grad_checkpointing",
    "trainer.clip_grad",
    "trainer.clip_mode",
    "trainer.compile",
    "trainer.early_stopping",
    "trainer.find_batch_size",
    "trainer.ema_decay",
    "trainer.eval_every",
    "trainer.keep_best",
    "trainer.keep_every_epochs",
    "trainer.keep_latest",
    "trainer.max_rollbacks",
    "trainer.max_skips",
    "trainer.max_skips_in_a_row",
    "trainer.max_steps",
    "trainer.on_nonfinite",
    "trainer.save_every_minutes",
    "trainer.save_every_steps",
    "trainer.sync_bn",
    "model.options.drop_path_rate",
    "model.options.drop_rate",
    "model.options.recompute_kernel",
)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command_line = shlex.join(["python", "-m", "rednet", "evaluate", *arguments])
    command = partial(_evaluate, command_line=command_line)
    return cli.run("evaluate", command, arguments, unused=TRAINING_ONLY)


def _evaluate(config: EvaluationConfig, explicit_keys: frozenset[str], command_line: str) -> None:
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights to evaluate")
    announce_torch()
    from rednet.build.conditions import evaluation_conditions
    from rednet.build.data_report import report_not_read
    from rednet.build.evaluation import build_evaluation, run_evaluation
    from rednet.build.folders import run_folder
    from rednet.build.runtime import build_runtime
    from rednet.reports import write_evaluation
    from rednet.weights import read_checkpoint

    announce("reading the weights and opening the data")
    checkpoint = read_checkpoint(config.checkpoint)
    setup = build_evaluation(checkpoint, config.model, config.data, config.seed, explicit_keys)
    network, names = setup.network, setup.source.class_names
    label = f"evaluate-{network.name}-{config.data.name}"
    with (
        build_runtime(config.trainer, explicit_keys) as runtime,
        run_folder(config.output_dir, label, runtime) as folder,
    ):
        if runtime.is_primary:
            print(
                f"{printable(checkpoint.path)} ({checkpoint.kind}): {setup.describe()}", flush=True
            )
            report_not_read(setup.images.not_read, folder)
        with _observer(config, setup, folder, runtime) as observer:
            result = run_evaluation(
                setup, config.trainer, runtime, observer=observer, tta=config.tta
            )

        def write() -> None:
            announce("writing the results")
            (folder / "evaluation.yaml").write_text(to_yaml(_used(config, setup)))
            conditions = evaluation_conditions(setup, checkpoint, config, runtime)
            conditions["command"] = command_line
            lines = write_evaluation(result, names, folder, network.name, conditions)
            for line in lines:
                say(line)

        # The others wait: torchrun ends all processes as soon as one ends with an error.
        runtime.on_primary(write)
        result.require_finite()
        if config.data.on_unreadable == "error":
            result.require_readable()


def _used(config: EvaluationConfig, setup: "EvaluationSetup") -> EvaluationConfig:
    """Return the configuration with what the checkpoint decided."""
    split_seed = setup.images.split_seed
    seed = config.seed if split_seed is None else split_seed
    return replace(config, model=setup.network, data=setup.data, seed=seed)


def _observer(
    config: EvaluationConfig, setup: "EvaluationSetup", folder: Path, runtime: "Runtime"
) -> AbstractContextManager["Observer | None"]:
    """Return the context of what looks at the logits, which is nothing by default."""
    from rednet.predictions.observing import write_predictions

    if not config.predictions:
        return nullcontext()
    path = folder / "predictions.csv"
    return write_predictions(path, setup.source, setup.data.batch_size, runtime)
