"""Build and run the evaluation of a checkpoint."""

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

from torch import nn

from rednet.build.classes import match_classes
from rednet.build.counting import build_counting
from rednet.build.data import build_val_loader, take_samples
from rednet.build.model import build_model, check_forward, optimize_model, place_model
from rednet.build.preprocessing import (
    build_preprocessing,
    preprocessing_of_weights,
    require_channels,
)
from rednet.build.splits import ChosenImages, choose_images
from rednet.config import Data, Model, Trainer
from rednet.counting import ALL, Counting
from rednet.data import ImageSource, Preprocessing
from rednet.data.summary import describe_classes
from rednet.evaluation import Evaluation, Observer, evaluate
from rednet.inference import Augmentation
from rednet.runtime import Runtime
from rednet.training.progress import Progress
from rednet.weights import (
    Checkpoint,
    count_channels,
    list_notes,
    load_weights,
    override_network,
    require_network,
    require_plausible,
)
from rednet.wording import printable


@dataclass(frozen=True)
class EvaluationSetup:
    """A network with its weights, and the data to evaluate it on.

    Attributes:
        network: Name and options of the network.
        model: The network, not yet on the device.
        images: The images and their labels.
        data: Configuration of the data, with the split and the preprocessing that are used.
        preprocessing: Preprocessing of the images.
        num_outputs: Number of the network's outputs.
        counting: Which of them compete, and which labels are right.
        notes: What the user must know about weights and images, one line each.
    """

    network: Model
    model: nn.Module
    images: ChosenImages
    data: Data
    preprocessing: Preprocessing
    num_outputs: int
    counting: Counting = ALL
    notes: Sequence[str] = ()

    @property
    def source(self) -> ImageSource:
        """The images that are evaluated."""
        return self.images.source

    def describe(self) -> str:
        """Return a line about network, data and preprocessing, one about classes, and the notes."""
        options = "".join(f" {name}={value}" for name, value in self.network.options.items())
        line = (
            f"{self.network.name}{options}; {self.images.describe()}, "
            f"{self.preprocessing.describe()}"
        )
        return "\n".join(map(printable, (line, describe_classes(self.source), *self.notes)))


def build_evaluation(
    checkpoint: Checkpoint,
    model: Model | None,
    data: Data,
    seed: int,
    explicit_keys: Collection[str],
) -> EvaluationSetup:
    """Build a checkpoint's network and open the data for it.

    The preprocessing stored in the checkpoint takes precedence over `data`, except for
    `explicit_keys`.

    Args:
        checkpoint: Checkpoint to evaluate.
        model: The network given on the command line, if any.
        data: Configuration of the data.
        seed: Seed of the split into training and validation data.
        explicit_keys: Dotted keys that the user set.

    Raises:
        InputError: Network, weights and data do not fit together.
    """
    require_plausible(checkpoint)
    named = checkpoint if model is None else override_network(checkpoint, model.name, model.options)
    network = Model(**require_network(named))
    images = choose_images(data, seed, checkpoint, explicit_keys)
    source, line = match_classes(images.source, named, data)
    num_outputs = len(source.class_names)
    source = take_samples(source, data.val_samples, "data.val_samples")
    source, counting, lines = build_counting(source, data.name)
    images = images.with_source(source, line)
    known, notes = preprocessing_of_weights(checkpoint, network)
    channels = count_channels(named)
    preprocessing = build_preprocessing(data, known, explicit_keys, in_chans=channels)
    require_channels(named, preprocessing)
    built = build_model(network, num_outputs, preprocessing.in_chans)
    load_weights(built, named)
    data = replace(images.data, split=images.split, **asdict(preprocessing))
    return EvaluationSetup(
        network,
        built,
        images,
        data,
        preprocessing,
        num_outputs,
        counting,
        notes=[*list_notes(named), *notes, *images.notes, *lines],
    )


def run_evaluation(
    setup: EvaluationSetup,
    trainer: Trainer,
    runtime: Runtime,
    label: str = "evaluation",
    observer: Observer | None = None,
    tta: Augmentation | None = None,
) -> Evaluation:
    """Evaluate on all images and show the progress.

    Args:
        setup: Network and data.
        trainer: Settings of the device.
        runtime: Device, precision and processes.
        label: Text in front of the progress.
        observer: Object that is given each batch and its logits, or None.
        tta: Test-time augmentation, see `rednet.inference`.

    Raises:
        InputError: The network cannot process these images, or no image can be read.
    """
    source, preprocessing = setup.source, setup.preprocessing
    classes = len(source.class_names)
    model = place_model(setup.model, trainer, runtime)
    check_forward(model, setup.network.name, setup.num_outputs, preprocessing, runtime)
    model = optimize_model(model, trainer, preprocessing, runtime)
    loader = build_val_loader(source, preprocessing, setup.data, runtime)
    progress = Progress(
        len(source), label=label, every=trainer.log_every, enabled=runtime.is_primary
    )
    with loader, closing(progress):
        return evaluate(model, loader, classes, runtime, progress, observer, tta, setup.counting)
