"""The configured evaluation of a checkpoint: its network, the pictures, their preparation."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace

import yaml
from torch import nn

from rednet.build.data import build_preprocessing, build_splits, build_val_loader
from rednet.build.model import build_model, check_forward, place_model
from rednet.config import Data, Model, Trainer
from rednet.data import ImageSource, Preprocessing
from rednet.errors import InputError
from rednet.evaluation import Evaluation, evaluate
from rednet.runtime import Runtime
from rednet.training.progress import Progress
from rednet.weights import OURS, Checkpoint, load_weights, override_network, require_network


@dataclass(frozen=True)
class EvaluationSetup:
    """A network with its weights, before pictures that it can classify.

    Attributes:
        network: Its name and options.
        model: Itself, not placed yet.
        source: The pictures.
        data: The configuration of them as it is used.
        preprocessing: What is done to them.
    """

    network: Model
    model: nn.Module
    source: ImageSource
    data: Data
    preprocessing: Preprocessing

    def describe(self) -> str:
        """Network, pictures and their preparation in a line."""
        options = "".join(f" {name}={value}" for name, value in self.network.options.items())
        pixels = self.preprocessing
        return (
            f"{self.network.name}{options}; {len(self.source)} images of {self.data.name}, "
            f"{pixels.image_size} px, crop {pixels.crop_pct:g}, {pixels.interpolation}"
        )


def build_evaluation(
    checkpoint: Checkpoint,
    model: Model | None,
    data: Data,
    seed: int,
    explicit_keys: Collection[str],
) -> EvaluationSetup:
    """Builds a checkpoint's network and opens the data for it.

    Args:
        checkpoint: As read.
        model: The user's word about the network, or None.
        data: The pictures; what the checkpoint says about preparation and split goes before it,
        seed: of the split too,
        explicit_keys: except for the keys that the user typed.

    Raises:
        InputError: Network, weights and data do not fit each other.
    """
    named = checkpoint if model is None else override_network(checkpoint, model.name, model.options)
    network = Model(**require_network(named))
    data, seed = _split_as_trained(data, seed, checkpoint, explicit_keys)
    source = build_splits(data, seed, train=False).val
    assert source is not None
    _require_classes(checkpoint, source.class_names)
    preprocessing = build_preprocessing(data, checkpoint.preprocessing, explicit_keys)
    built = build_model(network, len(source.class_names), preprocessing.in_chans)
    load_weights(built, checkpoint)
    data = replace(data, **asdict(preprocessing))
    return EvaluationSetup(network, built, source, data, preprocessing)


def run_evaluation(
    setup: EvaluationSetup, trainer: Trainer, runtime: Runtime, label: str = "evaluation"
) -> Evaluation:
    """Evaluates a setup on all its pictures, with a line of progress.

    Raises:
        InputError: It does not classify such pictures, or none can be read.
    """
    source, preprocessing = setup.source, setup.preprocessing
    classes = len(source.class_names)
    model = place_model(setup.model, trainer, runtime)
    check_forward(model, setup.network.name, classes, preprocessing, runtime)
    loader = build_val_loader(source, preprocessing, setup.data, runtime)
    progress = Progress(
        len(source), label=label, every=trainer.log_every, enabled=runtime.is_primary
    )
    result = evaluate(model, loader, classes, runtime, progress)
    progress.close()
    return result


def _split_as_trained(
    data: Data, seed: int, checkpoint: Checkpoint, explicit_keys: Collection[str]
) -> tuple[Data, int]:
    """Cuts a folder of classes in two as the training did, or it would be tested on its own."""
    if checkpoint.kind not in OURS or checkpoint.content.get("config") is None:
        return data, seed
    trained_seed, trained_fraction = _read_split(checkpoint)
    if "data.val_fraction" not in explicit_keys:
        data = replace(data, val_fraction=trained_fraction)
    return data, seed if "seed" in explicit_keys else trained_seed


def _read_split(checkpoint: Checkpoint) -> tuple[int, float]:
    """Seed and `data.val_fraction` of the run that a checkpoint is of."""
    try:
        config = yaml.safe_load(checkpoint.content["config"])
        seed, val_fraction = config["seed"], config["data"]["val_fraction"]
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise InputError(f"{checkpoint.label}: the configuration in it is damaged") from error
    is_seed = isinstance(seed, int) and seed >= 0
    if not is_seed or not isinstance(val_fraction, int | float) or not 0 < val_fraction <= 1:
        values = f"seed={seed!r} or data.val_fraction={val_fraction!r}"
        raise InputError(f"{checkpoint.label}: in it {values} cannot be")
    return seed, val_fraction


def _require_classes(checkpoint: Checkpoint, class_names: Sequence[str]) -> None:
    """A checkpoint's classes must be the data's, in the same order, or accuracy means nothing."""
    known = checkpoint.class_names
    if known is None or known == list(class_names):
        return
    what = f"{checkpoint.label} knows {len(known)} classes"
    if len(known) != len(class_names):
        raise InputError(f"{what}, the data {len(class_names)}: evaluate it on data with its own")
    pairs = enumerate(zip(known, class_names, strict=True))
    index, (its, ours) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
    raise InputError(
        f"{what}, of which number {index} is {its!r}, in the data it is {ours!r}: "
        "evaluate it on data with its own"
    )
