"""The commands: what `train.py`, the scripts and `python -m rednet` run.

torch is imported inside them, so that a typo on the command line is answered at once.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rednet import cli
from rednet.config import Config, Model, to_yaml
from rednet.errors import InputError

if TYPE_CHECKING:
    from rednet.evaluation import Evaluation
    from rednet.models.weights import Checkpoint
    from rednet.runtime import Runtime
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
    "trainer.deterministic",
    "trainer.ema_decay",
    "trainer.eval_every",
    "trainer.keep_best",
    "trainer.keep_latest",
    "trainer.max_updates",
    "trainer.on_nonfinite",
    "trainer.sync_bn",
    "trainer.tf32",
)


def train(argv: Sequence[str] | None = None) -> int:
    """Trains a network; returns the exit code."""
    return cli.run("train", _train, None if argv is None else list(argv))


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Evaluates a checkpoint; returns the exit code."""
    arguments = None if argv is None else list(argv)
    return cli.run("evaluate", _evaluate, arguments, unused=TRAINING_ONLY)


COMMANDS = {"train": train, "evaluate": evaluate}


def _train(config: Config, typed: frozenset[str]) -> None:
    from rednet.assembly.training import build_trainer

    with _runtime(config) as runtime:
        folder = _output_folder(config, "", runtime)
        checkpoint = _find_resumption(config, folder)
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
    from rednet.runtime import start_runtime

    trainer = config.trainer
    return start_runtime(trainer.device, trainer.precision, trainer.channels_last)


def _output_folder(config: Config, prefix: str, runtime: "Runtime") -> Path:
    """The run's folder, made and tried; the first process names it for all."""
    name = config.output_dir
    if name is None:
        model = config.model.name if config.model else "checkpoint"
        name = f"runs/{prefix}{model}-{config.data.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        name = runtime.from_primary(_unused(name))
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".writable-{runtime.rank}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise InputError(f"output_dir={folder}: cannot be written: {error.strerror}") from error
    return folder


def _unused(name: str) -> str:
    """The name itself or, where it is taken, with a number behind it."""
    number, free = 1, name
    while Path(free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _find_resumption(config: Config, folder: Path) -> "Checkpoint | None":
    """The checkpoint to go on from; InputError where going on or starting anew would lose one."""
    from rednet.models.weights import read_checkpoint

    last = folder / "checkpoints" / "last.pt"
    if config.resume not in ("auto", "never"):
        path = Path(config.resume)
        return read_checkpoint(path / "checkpoints" / "last.pt" if path.is_dir() else path)
    if not last.exists():
        return None
    if config.resume == "never":
        raise InputError(
            f"output_dir={folder} already holds a run: choose another folder, or go on with it "
            "by resume=auto"
        )
    return read_checkpoint(last)


def _resume(trainer: "Trainer", checkpoint: "Checkpoint") -> None:
    content = checkpoint.content
    if "train_state" not in content:
        raise InputError(
            f"resume={checkpoint.path}: holds weights but no state of a run; "
            f"checkpoint={checkpoint.path} starts a new run from them"
        )
    for key in ("model", "class_names"):
        if content[key] != trainer.description[key]:
            raise InputError(
                f"{checkpoint.path} is of another run: its {key} is {_short(content[key])}, "
                f"here it is {_short(trainer.description[key])}"
            )
    trainer.resume(content)
    if trainer.runtime.is_primary:
        print(f"resumed after epoch {trainer.state.epoch} from {checkpoint.path}", flush=True)


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
        print(f"nothing left to do: all {trainer.state.epoch} epochs are done")
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
    from rednet.assembly.model import build_model, place_model
    from rednet.evaluation import evaluate
    from rednet.models.weights import load_weights, read_checkpoint
    from rednet.training.metrics import Progress

    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the weights to evaluate")
    checkpoint = read_checkpoint(config.checkpoint)
    network = _network(config.model, checkpoint)
    source = build_splits(config.data, config.seed, train=False).val
    assert source is not None
    names = source.class_names
    _require_classes(checkpoint, names)
    preprocessing = build_preprocessing(config.data, checkpoint.content.get("preprocessing"), typed)
    model = build_model(network, len(names), preprocessing.in_chans)
    load_weights(model, checkpoint)
    with _runtime(config) as runtime:
        folder = _output_folder(config, f"evaluate-{network.name}-", runtime)
        model = place_model(model, config.trainer, runtime)
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
            (folder / "config.yaml").write_text(to_yaml(config))
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
    known = Model(**checkpoint.model)
    if model is None:
        return known
    if model.name != known.name:
        raise InputError(
            f"checkpoint={checkpoint.path} is of {known.name}, not of model={model.name}: "
            "leave model out"
        )
    return Model(name=model.name, options={**known.options, **model.options})


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
