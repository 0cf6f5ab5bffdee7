"""Evaluate a checkpoint."""

from collections.abc import Sequence
from dataclasses import replace

from rednet import cli
from rednet.config import EvaluationConfig, to_yaml
from rednet.errors import InputError
from rednet.program import announce, announce_torch
from rednet.wording import printable

TRAINING_ONLY = (
    "data.train_samples",
    "data.max_unreadable",
    "trainer.grad_accum_steps",
    "trainer.grad_checkpointing",
    "trainer.clip_grad",
    "trainer.clip_mode",
    "trainer.compile",
    "trainer.ema_decay",
    "trainer.eval_every",
    "trainer.keep_best",
    "trainer.keep_latest",
    "trainer.max_steps",
    "trainer.on_nonfinite",
    "trainer.sync_bn",
)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("evaluate", _evaluate, argv, unused=TRAINING_ONLY)


def _evaluate(config: EvaluationConfig, explicit_keys: frozenset[str]) -> None:
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights to evaluate")
    announce_torch()
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
        build_runtime(config.trainer) as runtime,
        run_folder(config.output_dir, label, runtime) as folder,
    ):
        if runtime.is_primary:
            print(
                f"{printable(checkpoint.path)} ({checkpoint.kind}): {setup.describe()}", flush=True
            )
            report_not_read(setup.images.not_read, folder)
        result = run_evaluation(setup, config.trainer, runtime)
        if runtime.is_primary:
            used = replace(config, model=network, data=setup.data)
            (folder / "evaluation.yaml").write_text(to_yaml(used))
            for line in write_evaluation(result, names, folder, network.name):
                print(line)
        if config.data.on_unreadable == "error":
            result.require_readable()
