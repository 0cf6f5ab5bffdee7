"""Build the network of a checkpoint for an export, with what its file needs besides."""

from collections.abc import Sequence
from dataclasses import dataclass

from timm.data import IMAGENET_DEFAULT_MEAN

from rednet.build.preprocessing import preprocessing_of_file
from rednet.config import ExportConfig
from rednet.data import imagenet_synsets
from rednet.export import Options, Subject
from rednet.weights import (
    Checkpoint,
    count_channels,
    list_notes,
    num_classes_and_in_chans,
    override_network,
    read_checkpoint,
    require_network,
    restore_model,
)
from rednet.wording import count, printable

IMAGE_SIZE = 224
"""Size of the example where neither the user nor the checkpoint says one."""


@dataclass(frozen=True)
class ExportSetup:
    """A checkpoint's network, ready to be exported.

    Attributes:
        checkpoint: The file that holds the network.
        subject: The network and what is written with it.
        options: Properties of the exported network.
        notes: What the user must know about weights and preprocessing, one line each.
    """

    checkpoint: Checkpoint
    subject: Subject
    options: Options
    notes: Sequence[str]

    def describe(self) -> str:
        """Return a line about the network, one about its images and classes, and the notes."""
        subject = self.subject
        sizes = "any size" if self.options.dynamic_size else f"{subject.size} px"
        classes = "unnamed outputs"
        if subject.class_names:
            classes = count(len(subject.class_names), "class name")
        images = f"images of {sizes} and {count(subject.in_chans, 'channel')}, {classes}"
        lines = (self.checkpoint.describe_network(), images, *self.notes)
        return "\n".join(map(printable, lines))


def build_export(config: ExportConfig) -> ExportSetup:
    """Read a checkpoint and build its network.

    Raises:
        InputError: The checkpoint cannot be read, or its network is unknown.
    """
    assert config.checkpoint is not None
    checkpoint = read_checkpoint(config.checkpoint)
    if config.model is not None:
        checkpoint = override_network(checkpoint, config.model.name, config.model.options)
    network = require_network(checkpoint)
    known, notes = preprocessing_of_file(checkpoint)
    subject = Subject(
        model=restore_model(checkpoint).eval(),
        network=network,
        preprocessing=known,
        class_names=_class_names(checkpoint),
        in_chans=count_channels(checkpoint) or len(known.get("mean", (0, 0, 0))),
        size=config.image_size or known.get("image_size", IMAGE_SIZE),
    )
    if "mean" not in known:
        notes = [*notes, _assumption(subject)]
    options = Options(
        config.fold_bn, config.decompose, config.dynamic_size and config.format != "aoti"
    )
    return ExportSetup(checkpoint, subject, options, [*list_notes(checkpoint), *notes])


def _assumption(subject: Subject) -> str:
    """Return a line about the images in the lines of Python that are printed at the end."""
    kind = "as for ImageNet" if subject.in_chans == len(IMAGENET_DEFAULT_MEAN) else "with mean 0.5"
    return f"assumed below: images prepared {kind}, as the file does not say how they are"


def _class_names(checkpoint: Checkpoint) -> Sequence[str] | None:
    """Return the names in a checkpoint, or ImageNet's synsets for its number of outputs."""
    if checkpoint.class_names is not None:
        return checkpoint.class_names
    outputs = num_classes_and_in_chans(checkpoint).get("num_classes")
    return imagenet_synsets() if outputs == len(imagenet_synsets()) else None
