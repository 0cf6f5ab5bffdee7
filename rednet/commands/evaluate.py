"""The evaluation command."""

from collections.abc import Sequence
from dataclasses import replace

from rednet import cli
from rednet.config import EvaluationConfig, to_yaml
from rednet.errors import InputError

TRAINING_ONLY = (
    "data.train_samples",
    "data.max_unreadable",
    "trainer.accumulate",
    "trainer.checkpoint_activations",
    "trainer.clip_grad",
    "trainer.clip_mode",
    "trainer.compile",
    "trainer.ema_decay",
    "trainer.eval_every",
    "trainer.keep_best",
    "trainer.keep_latest",
    "trainer.max_updates",
    "trainer.on_nonfinite",
    "trainer.sync_bn",
)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Evaluates a checkpoint; returns the exit code."""
    return cli.run("evaluate", _evaluate, argv, unused=TRAINING_ONLY)


def _evaluate(config: EvaluationConfig, typed: frozenset[str]) -> None:
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights to evaluate")
    from rednet.build.evaluation import build_candidate, run_evaluation
    from rednet.build.folders import run_folder
    from rednet.build.runtime import build_runtime
    from rednet.reports import write_evaluation
    from rednet.weights import read_checkpoint

    checkpoint = read_checkpoint(config.checkpoint)
    candidate = build_candidate(checkpoint, config.model, config.data, config.seed, typed)
    network, names = candidate.network, candidate.source.class_names
    label = f"evaluate-{network.name}-{config.data.name}"
    with (
        build_runtime(config.trainer) as runtime,
        run_folder(config.output_dir, label, runtime) as folder,
    ):
        if runtime.is_primary:
            print(f"{checkpoint.path} ({checkpoint.kind}): {candidate.describe()}", flush=True)
        result = run_evaluation(candidate, config.trainer, runtime)
        if runtime.is_primary:
            used = replace(config, model=network, data=candidate.data)
            (folder / "evaluation.yaml").write_text(to_yaml(used))
            for line in write_evaluation(result, names, folder, network.name):
                print(line)
        if config.data.on_unreadable == "error":
            result.require_readable()
