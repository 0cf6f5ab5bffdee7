"""Build and run the evaluation of a checkpoint."""

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
from rednet.wording import count


@dataclass(frozen=True)
class EvaluationSetup:
    """A network with its weights, and the data to evaluate it on.

    Attributes:
        network: Name and options of the network.
        model: The network, not yet on the device.
        source: The images and their labels.
        data: Configuration of the data, with the preprocessing that is used.
        preprocessing: Preprocessing of the images.
    """

    network: Model
    model: nn.Module
    source: ImageSource
    data: Data
    preprocessing: Preprocessing

    def describe(self) -> str:
        """Return a line about network, data and preprocessing."""
        options = "".join(f" {name}={value}" for name, value in self.network.options.items())
        preprocessing = self.preprocessing
        return (
            f"{self.network.name}{options}; {count(len(self.source), 'image')} of "
            f"{self.data.name}, "
            f"{preprocessing.image_size} px, crop {preprocessing.crop_pct:g}, "
            f"{preprocessing.interpolation}"
        )


def build_evaluation(
    checkpoint: Checkpoint,
    model: Model | None,
    data: Data,
    seed: int,
    explicit_keys: Collection[str],
) -> EvaluationSetup:
    """Build a checkpoint's network and open the data for it.

    The preprocessing and the split stored in the checkpoint take precedence over `data` and `seed`,
    except for `explicit_keys`.

    Args:
        checkpoint: Checkpoint to evaluate.
        model: The network given on the command line, if any.
        data: Configuration of the data.
        seed: Seed of the split into training and validation data.
        explicit_keys: Dotted keys that the user set.

    Raises:
        InputError: Network, weights and data do not fit together.
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
    """Evaluate on all images and show the progress.

    Raises:
        InputError: The network cannot process these images, or no image can be read.
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
    """Return the split used in training; another one would evaluate on training images."""
    if checkpoint.kind not in OURS or checkpoint.content.get("config") is None:
        return data, seed
    trained_seed, trained_fraction = _read_split(checkpoint)
    if "data.val_fraction" not in explicit_keys:
        data = replace(data, val_fraction=trained_fraction)
    return data, seed if "seed" in explicit_keys else trained_seed


def _read_split(checkpoint: Checkpoint) -> tuple[int, float]:
    """Return seed and `data.val_fraction` of the run that wrote a checkpoint."""
    try:
        config = yaml.safe_load(checkpoint.content["config"])
        seed, val_fraction = config["seed"], config["data"]["val_fraction"]
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise InputError(f"{checkpoint.label}: its configuration is damaged") from error
    is_seed = isinstance(seed, int) and seed >= 0
    if not is_seed or not isinstance(val_fraction, int | float) or not 0 < val_fraction <= 1:
        values = f"seed={seed!r} or data.val_fraction={val_fraction!r}"
        raise InputError(f"{checkpoint.label}: its configuration has an invalid {values}")
    return seed, val_fraction


def _require_classes(checkpoint: Checkpoint, class_names: Sequence[str]) -> None:
    """Require the same classes in the same order; otherwise accuracy is meaningless."""
    known = checkpoint.class_names
    if known is None or known == list(class_names):
        return
    hint = "evaluate it on data with the same classes"
    if len(known) != len(class_names):
        raise InputError(
            f"{checkpoint.label} has {count(len(known), 'class')}, the data "
            f"{len(class_names)}: {hint}"
        )
    pairs = enumerate(zip(known, class_names, strict=True))
    index, (theirs, ours) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
    raise InputError(
        f"{checkpoint.label}: class {index} is {theirs!r}, in the data it is {ours!r}: {hint}"
    )
