"""What the page knows about a run, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Confusion:
    """Validation images of one class that were taken for another.

    Attributes:
        true: Name of their class.
        predicted: Name of the class that they were taken for.
        count: Number of images.
        share: Percentage of the class's images, None if unknown.
    """

    true: str
    predicted: str
    count: int
    share: float | None = None


@dataclass(frozen=True)
class Mistake:
    """A validation image with a wrong prediction.

    Attributes:
        thumbnail: JPEG file of the image, shrunk.
        label: Name of its class.
        prediction: Name of the predicted class.
        confidence: Probability of the prediction, 0 to 1, None if unknown.
        name: Name of the image in its data set, "" if unknown.
    """

    thumbnail: bytes
    label: str
    prediction: str
    confidence: float | None = None
    name: str = ""


@dataclass(frozen=True)
class NetworkSize:
    """Size of a run's network; None where unknown.

    Attributes:
        parameters: Number of parameters.
        macs: Number of multiply-adds for one image.
    """

    parameters: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class Run:
    """A run as its folder describes it; whatever is missing or damaged there is empty here.

    Attributes:
        name: Name of the folder, relative to that on the command line.
        folder: Path of the folder.
        settings: Values of config.yaml by dotted key.
        rows: Rows of metrics.jsonl, one for each epoch.
        starts: Lines of provenance.jsonl, one for each start.
        confusions: Pairs of classes that were confused, most frequent first.
        num_confusions: Number of pairs in the file, which may be more than in `confusions`.
        mistakes: Images with a wrong prediction.
        problems: What is missing or damaged, in words.
        size: Size of the network.
    """

    name: str
    folder: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    starts: Sequence[Mapping[str, Any]] = ()
    confusions: Sequence[Confusion] = ()
    num_confusions: int = 0
    mistakes: Sequence[Mistake] = ()
    problems: Sequence[str] = ()
    size: NetworkSize = NetworkSize()
