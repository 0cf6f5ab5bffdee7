"""The commands: what `train.py`, the scripts and `python -m rednet` run.

torch is imported inside them, so that a typo on the command line is answered at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from rednet import cli
from rednet.analysis.benchmark.cli import main as benchmark
from rednet.analysis.kernels.cli import main as kernel_report
from rednet.config import Config, Model, to_yaml
from rednet.errors import InputError

if TYPE_CHECKING:
    from rednet.evaluation import Evaluation
    from rednet.models.weights import Checkpoint
    from rednet.training.trainer import Trainer

TRAINING_ONLY = (
    "augment",
    "optimizer",
    "schedule",
    "experiment",
    "resume",
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


def train(argv: Sequence[str] | None = None) -> int:
    """Trains a network; returns the exit code."""
    return cli.run("train", _train, None if argv is None else list(argv))


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Evaluates a checkpoint; returns the exit code."""
    arguments = None if argv is None else list(argv)
    return cli.run("evaluate", _evaluate, arguments, unused=TRAINING_ONLY)


COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "benchmark": benchmark,
    "kernel-report": kernel_report,
}


def _train(config: Config, typed: frozenset[str]) -> None:
    from rednet.assembly.folders import find_resumption, run_folder
    from rednet.assembly.training import build_trainer

    label = config.model.name if config.model else "run"
    with _runtime(config) as runtime, run_folder(config, label, runtime) as folder:
        checkpoint = find_resumption(config, folder)
        trainer = build_trainer(config, runtime, folder)
        if checkpoint is not None:
            _resume(trainer, checkpoint)
        if runtime.is_primary:
            (folder / "config.yaml").write_text(to_yaml(config))
            _introduce(trainer, config)
        evaluation = trainer.fit()
        if runtime.is_primary:
            _conclude(trainer, evaluation)


def _runtime(config: Config) -> Any:
    from rednet.runtime import set_numerics, start_runtime

    trainer = config.trainer
    set_numerics(deterministic=trainer.deterministic, tf32=trainer.tf32)
    return start_runtime(trainer.device, trainer.precision, trainer.channels_last)


def _resume(trainer: "Trainer", checkpoint: "Checkpoint") -> None:
    content = checkpoint.content
    if "train_state" not in content:
        raise InputError(
            f"resume={checkpoint.path}: holds weights but no state of a run; "
            f"checkpoint={checkpoint.path} starts a new run from them"
        )
    its, here = _identity(content), _identity(trainer.description)
    for key in its:
        if its[key] != here[key]:
            raise InputError(
                f"{checkpoint.path} is of another run: its {key} is {_short(its[key])}, "
                f"here it is {_short(here[key])}"
            )
    trainer.resume(content)
    if trainer.runtime.is_primary:
        print(f"resumed after epoch {trainer.state.epoch} from {checkpoint.path}", flush=True)


def _identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same as long as a run goes on."""
    optimizer = OmegaConf.create(description["config"])["optimizer"]
    return {
        "model": description["model"],
        "class_names": description["class_names"],
        "optimizer": {key: optimizer[key] for key in ("name", "decay_all")},
    }


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _introduce(trainer: "Trainer", config: Config) -> None:
    """What is going to be trained, on what, how fast."""
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    sampler, optimizer = trainer.sampler, config.optimizer
    assert config.model is not None
    print(
        f"{config.model.name}: {parameters / 1e6:.2f} M parameters; {config.data.name}: "
        f"{sampler.num_samples} training and {len(trainer.val_loader.dataset)} "  # type: ignore[arg-type]
        f"validation images, {trainer.num_classes} classes; {trainer.runtime.device}"
    )
    lr = f"lr {trainer.schedule.lr:g}"
    if optimizer.reference_batch is not None:
        lr += f" = {optimizer.lr:g} x {sampler.global_batch} / {optimizer.reference_batch}"
    print(
        f"{lr} at global batch {sampler.global_batch}; {trainer.schedule.epochs} epochs of "
        f"{sampler.updates_per_epoch} updates",
        flush=True,
    )


def _conclude(trainer: "Trainer", evaluation: "Evaluation | None") -> None:
    from rednet.analysis.figures import draw_curves
    from rednet.training.metrics import read_metrics

    if evaluation is None:
        print(f"nothing left to do after epoch {trainer.state.epoch}")
    elif evaluation.unreadable:
        print(f"warning: {len(evaluation.unreadable)} validation images could not be read")
    draw_curves(read_metrics(trainer.folder), trainer.folder / "curves.png")
    best = trainer.state.best
    print(
        f"{'' if best is None else f'best top-1 {best:.2f} %; '}"
        f"log, curves and checkpoints are in {trainer.folder}"
    )


def _evaluate(config: Config, typed: frozenset[str]) -> None:
    from rednet.analysis.reports import write_evaluation
    from rednet.assembly.data import build_preprocessing, build_splits, build_val_loader
    from rednet.assembly.folders import run_folder
    from rednet.assembly.model import build_model, place_model, try_out
    from rednet.evaluation import evaluate
    from rednet.models.weights import load_weights, read_checkpoint
    from rednet.training.metrics import Progress

    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights to evaluate")
    checkpoint = read_checkpoint(config.checkpoint)
    network = _network(config.model, checkpoint)
    config = _split_as_trained(config, checkpoint, typed)
    source = build_splits(config.data, config.seed, train=False).val
    assert source is not None
    names = source.class_names
    _require_classes(checkpoint, names)
    preprocessing = build_preprocessing(config.data, checkpoint.content.get("preprocessing"), typed)
    config = replace(config, model=network, data=replace(config.data, **asdict(preprocessing)))
    model = build_model(network, len(names), preprocessing.in_chans)
    load_weights(model, checkpoint)
    label = f"evaluate-{network.name}"
    with _runtime(config) as runtime, run_folder(config, label, runtime) as folder:
        model = place_model(model, config.trainer, runtime)
        try_out(model, network.name, len(names), preprocessing, runtime)
        loader = build_val_loader(source, preprocessing, config.data, runtime)
        progress = Progress(
            len(source),
            label="evaluation",
            every=config.trainer.log_every,
            enabled=runtime.is_primary,
        )
        result = evaluate(model, loader, len(names), runtime, progress)
        progress.close()
        if runtime.is_primary:
            (folder / "evaluation.yaml").write_text(to_yaml(config))
            for line in write_evaluation(result, names, folder, network.name):
                print(line)
        if config.data.on_unreadable == "error":
            result.require_readable()


def _network(model: Model | None, checkpoint: "Checkpoint") -> Model:
    """The network to evaluate: the user's word, else the checkpoint's."""
    if checkpoint.model is None:
        if model is None:
            raise InputError(
                f"checkpoint={checkpoint.path} does not say which network it is of: "
                "give it, e.g. model=rednet50"
            )
        return model
    options = dict(checkpoint.model["options"])
    options.pop("pretrained", None)  # nothing to fetch: the weights are the checkpoint's
    known = Model(name=checkpoint.model["name"], options=options)
    if model is None:
        return known
    if model.name != known.name:
        raise InputError(
            f"checkpoint={checkpoint.path} is of {known.name}, not of model={model.name}: "
            "leave model out"
        )
    return Model(name=model.name, options={**known.options, **model.options})


def _split_as_trained(config: Config, checkpoint: "Checkpoint", typed: frozenset[str]) -> Config:
    """Cuts a folder of classes in two as the training did, or it would be tested on its own."""
    if checkpoint.model is None:
        return config
    trained = OmegaConf.create(checkpoint.content["config"])
    seed = config.seed if "seed" in typed else trained.seed
    part = config.data.val_fraction if "data.val_fraction" in typed else trained.data.val_fraction
    return replace(config, seed=seed, data=replace(config.data, val_fraction=part))


def _require_classes(checkpoint: "Checkpoint", class_names: Sequence[str]) -> None:
    """A checkpoint's classes must be the data's, in the same order, or accuracy means nothing."""
    known = checkpoint.content.get("class_names")
    if known is None or known == list(class_names):
        return
    what = f"checkpoint={checkpoint.path} knows {len(known)} classes"
    if len(known) != len(class_names):
        raise InputError(f"{what}, the data {len(class_names)}: evaluate it on data with its own")
    pairs = enumerate(zip(known, class_names, strict=True))
    index, (its, ours) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
    raise InputError(
        f"{what}, of which number {index} is {its!r}, in the data it is {ours!r}: "
        "evaluate it on data with its own"
    )
