"""Train a network."""

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
    """Run the command; return its exit code."""
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
            _print_setup(trainer, config)
        evaluation = trainer.fit()
        if runtime.is_primary:
            _print_result(trainer, evaluation)


def _resume(trainer: "Trainer", checkpoint: "Checkpoint") -> None:
    content = checkpoint.content
    if "train_state" not in content:
        raise InputError(
            f"resume={checkpoint.path}: holds weights but no training state; "
            f"checkpoint={checkpoint.path} starts a new run from them"
        )
    saved, current = _identity(content), _identity(trainer.description)
    for key in saved:
        if saved[key] != current[key]:
            raise InputError(
                f"{checkpoint.path} belongs to another run: its {key} is {_short(saved[key])}, "
                f"here it is {_short(current[key])}"
            )
    trainer.load_state_dict(content)
    if trainer.runtime.is_primary:
        print(f"resumed after epoch {trainer.counters.epoch} from {checkpoint.path}", flush=True)


def _identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must stay the same over the whole of a run."""
    optimizer = OmegaConf.create(description["config"])["optimizer"]
    return {
        "model": description["model"],
        "class_names": description["class_names"],
        "optimizer": {key: optimizer[key] for key in ("name", "decay_all")},
    }


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _print_setup(trainer: "Trainer", config: Config) -> None:
    """Print network, data, device, learning rate and length of the run."""
    assert config.model is not None
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    num_val_samples = len(trainer.val_loader.dataset)  # type: ignore[arg-type]
    sampler, optimizer = trainer.batches.sampler, config.optimizer
    print(
        f"{config.model.name}: {parameters / 1e6:.2f} M parameters; {config.data.name}: "
        f"{sampler.num_samples} training and {num_val_samples} validation images, "
        f"{len(trainer.description['class_names'])} classes; {trainer.runtime.device}"
    )
    lr = f"lr {trainer.schedule.lr:g}"
    if optimizer.lr_base_size is not None:
        lr += f" = {optimizer.lr:g} x {sampler.global_batch} / {optimizer.lr_base_size}"
    print(
        f"{lr} at global batch {sampler.global_batch}; {trainer.schedule.epochs} epochs of "
        f"{sampler.steps_per_epoch} steps",
        flush=True,
    )


def _print_result(trainer: "Trainer", evaluation: "Evaluation | None") -> None:
    """Draw the curves; print the best accuracy and the run's folder."""
    from rednet.plots import draw_curves
    from rednet.training.log import read_metrics

    if evaluation is None:
        print(f"nothing left to do after epoch {trainer.counters.epoch}")
    elif evaluation.unreadable:
        print(f"warning: {len(evaluation.unreadable)} validation images could not be read")
    folder, best = trainer.log.folder, trainer.store.best_top1
    draw_curves(read_metrics(folder), folder / "curves.png")
    print(
        f"{'' if best is None else f'best top-1 {best:.2f} %; '}"
        f"log, curves and checkpoints are in {folder}"
    )
