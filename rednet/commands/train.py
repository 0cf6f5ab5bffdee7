"""The training command."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from rednet import cli
from rednet.config import Config, to_yaml
from rednet.errors import InputError

if TYPE_CHECKING:
    from rednet.evaluation import Evaluation
    from rednet.training.trainer import Trainer
    from rednet.weights import Checkpoint


def train(argv: Sequence[str] | None = None) -> int:
    """Trains a network; returns the exit code."""
    return cli.run("train", _train, argv)


def _train(config: Config, explicit_keys: frozenset[str]) -> None:
    from rednet.build.folders import find_resumption, run_folder
    from rednet.build.runtime import build_runtime
    from rednet.build.training import build_trainer

    label = f"{config.model.name if config.model else 'run'}-{config.data.name}"
    with (
        build_runtime(config.trainer) as runtime,
        run_folder(config.output_dir, label, runtime) as folder,
    ):
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
    if optimizer.lr_base_size is not None:
        lr += f" = {optimizer.lr:g} x {sampler.global_batch} / {optimizer.lr_base_size}"
    print(
        f"{lr} at global batch {sampler.global_batch}; {trainer.schedule.epochs} epochs of "
        f"{sampler.steps_per_epoch} updates",
        flush=True,
    )


def _conclude(trainer: "Trainer", evaluation: "Evaluation | None") -> None:
    from rednet.plots import draw_curves
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
