"""Start training from pretrained weights: what they decide about the run, and loading them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from rednet.build.preprocessing import build_preprocessing, preprocessing_of_weights
from rednet.config import Config, Model
from rednet.errors import InputError
from rednet.training.checkpoints import CheckpointStore
from rednet.training.recovery import read_newest
from rednet.weights import (
    Checkpoint,
    list_notes,
    override_network,
    read_checkpoint,
    require_network,
    require_plausible,
    start_from,
)
from rednet.wording import printable

LOADED_BY_TIMM = ("pretrained", "checkpoint_path")
"""Options of `timm.create_model` that load weights."""


@dataclass(frozen=True)
class Start:
    """Pretrained weights that training starts from.

    Attributes:
        checkpoint: The file; None if timm loads the weights.
        notes: What the user must know about them, one line each.
    """

    checkpoint: Checkpoint | None
    notes: list[str]

    def load(self, model: nn.Module, class_names: Sequence[str]) -> list[str]:
        """Load the weights into the network; return all that the user must know about them.

        Raises:
            InputError: The weights do not fit.
        """
        if self.checkpoint is None:
            return self.notes
        return [*self.notes, *start_from(model, self.checkpoint, class_names)]


def follow_weights(config: Config, explicit_keys: Collection[str]) -> tuple[Config, Start | None]:
    """Return the configuration with what the weights decide that training starts from.

    A file says which network it holds; it, or timm, says how its images are prepared. Keys that the
    user set take precedence. Classes and channels are the data's.

    Args:
        config: Configuration of the run.
        explicit_keys: Dotted keys that the user set, on the command line or by an experiment.

    Returns:
        The configuration to train with, and the weights: None for a fresh network, and for a run
        that is continued without the file that it started from.

    Raises:
        InputError: The file cannot be read, is for another network than the user's, or is
            missing although a part of the network is to be frozen.
    """
    run = _find_run(config)
    if config.checkpoint is not None:
        found = read_checkpoint(config.checkpoint) if run is None else run
        require_plausible(found)
        checkpoint = _with_network(found, config.model, explicit_keys)
        model = Model(**require_network(checkpoint))
    elif config.model is not None and any(map(config.model.options.get, LOADED_BY_TIMM)):
        checkpoint, model = None, config.model
    else:
        _require_no_freezing(config)
        return config, None
    known, notes = preprocessing_of_weights(checkpoint, model)
    preprocessing = build_preprocessing(
        config.data, known, explicit_keys, in_chans=len(config.data.mean)
    )
    if checkpoint is None:
        source = f"starts from the weights of {model.name} that timm loads"
    else:
        path, network = printable(checkpoint.path), checkpoint.describe_network()
        source = f"starts from {path} ({checkpoint.kind}), {network}"
        notes = [*list_notes(checkpoint), *notes]
    start = Start(checkpoint, [f"{source}; {preprocessing.describe()}", *notes])
    data = replace(config.data, **asdict(preprocessing))
    return replace(config, model=model, data=data), start if run is None else None


def _require_no_freezing(config: Config) -> None:
    """Refuse to freeze a network that has not been trained.

    Raises:
        InputError: A part of it would be frozen.
    """
    finetune, is_fork = config.finetune, config.resume not in ("auto", "force", "never")
    trains_all = finetune.freeze == "none" and finetune.batch_norm != "freeze"
    if is_fork or (trains_all and not finetune.head_epochs):
        return
    if finetune.freeze != "none":
        key = f"finetune.freeze={finetune.freeze}"
    elif finetune.head_epochs:
        key = f"finetune.head_epochs={finetune.head_epochs}"
    else:
        key = f"finetune.batch_norm={finetune.batch_norm}"
    raise InputError(
        f"checkpoint=FILE is needed: {key} would freeze random weights (timm's networks may have "
        "model.options.pretrained=true instead)"
    )


def _find_run(config: Config) -> Checkpoint | None:
    """Return the run that will be continued if the weights that it started from are gone."""
    is_gone = config.checkpoint is not None and not Path(config.checkpoint).exists()
    if not is_gone or config.output_dir is None or config.resume not in ("auto", "force"):
        return None
    return read_newest(CheckpointStore(Path(config.output_dir)))


def _with_network(
    checkpoint: Checkpoint, model: Model | None, explicit_keys: Collection[str]
) -> Checkpoint:
    """Return the checkpoint with the user's network, or with its own and the user's options."""
    if model is None:
        return checkpoint
    if {"model", "model.name"} & set(explicit_keys):
        return override_network(checkpoint, model.name, model.options)
    if not model.options:
        return checkpoint
    return override_network(checkpoint, require_network(checkpoint)["name"], model.options)
