"""Build what `predict` needs: the network, the stream of images, and the files that it writes."""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rednet.build.data import build_val_loader
from rednet.build.inference import build_predictor, open_network
from rednet.config import ConfigError, Model, PredictionConfig, meant_keys
from rednet.data import ImageLoader
from rednet.data.image_files import ImageFiles
from rednet.data.image_paths import find_images
from rednet.data.not_read import NotRead
from rednet.data.transforms import OPENCV
from rednet.errors import InputError
from rednet.inference import Predictor
from rednet.predictions.features import write_features
from rednet.predictions.files import Write, write_csv, write_json_lines
from rednet.predictions.results import Results
from rednet.predictions.rows import ClassLabels
from rednet.predictions.stream import PredictionStream
from rednet.runtime import Runtime
from rednet.weights import Checkpoint, require_network
from rednet.weights.loading import explain_no_head
from rednet.wording import printable

CSV, JSON_LINES, SHEET, FEATURES = (
    "predictions.csv",
    "predictions.jsonl",
    "predictions.png",
    "features.npz",
)
FILES = (CSV, JSON_LINES, SHEET, FEATURES)
CHUNK = 8192
"""Images whose paths are in memory at the same time, and after which new workers are started."""

OF_CLASSES = ("top_k", "sheet_images")
"""Keys that need a classifier."""


@dataclass(frozen=True)
class PredictionSetup:
    """A network to predict with.

    Attributes:
        checkpoint: Its file.
        predictor: The network, its preprocessing and its classes.
        config: Configuration, with the network and the preprocessing that are used.
        notes: What the user must know about the network, one line each.
    """

    checkpoint: Checkpoint
    predictor: Predictor
    config: PredictionConfig
    notes: Sequence[str]

    @property
    def labels(self) -> ClassLabels:
        """Names of the classes."""
        return ClassLabels(self.predictor.class_names)

    def describe(self, images: str) -> str:
        """Return a line about the network and the preprocessing, and the notes.

        Args:
            images: The images as text.
        """
        checkpoint, preprocessing = self.checkpoint, self.predictor.preprocessing
        line = (
            f"{printable(checkpoint.path)} ({checkpoint.kind}): {checkpoint.describe_network()}; "
            f"{images}, {preprocessing.describe()}"
        )
        return "\n".join(map(printable, (line, *self.notes)))


def build_prediction(
    config: PredictionConfig, explicit_keys: Collection[str], runtime: Runtime
) -> PredictionSetup:
    """Build the network of a prediction.

    Raises:
        InputError: It cannot be built, or has no classifier although one is needed.
    """
    assert config.checkpoint is not None
    checkpoint = open_network(config.checkpoint, config.model)
    predictor, notes = build_predictor(
        checkpoint, config.data, explicit_keys, runtime, tta=config.tta, trainer=config.trainer
    )
    if not predictor.class_names:
        _require_no_classes_wanted(config, explicit_keys, checkpoint)
    network = Model(**require_network(checkpoint))
    data = replace(config.data, **asdict(predictor.preprocessing))
    used = replace(config, model=network, data=data)
    return PredictionSetup(checkpoint, predictor, used, notes)


def _require_no_classes_wanted(
    config: PredictionConfig, explicit_keys: Collection[str], checkpoint: Checkpoint
) -> None:
    reason = f"{checkpoint.label} {explain_no_head(checkpoint)}"
    if not config.features:
        raise InputError(f"{reason}: train one first; features=true writes its features")
    idle = [key for key in OF_CLASSES if key in meant_keys(explicit_keys)]
    if idle:
        raise ConfigError(f"{key}: has no effect, {reason}" for key in idle)


def build_stream(setup: PredictionSetup, total: int | None, runtime: Runtime) -> PredictionStream:
    """Build what predicts the images, which are loaded as in an evaluation.

    Args:
        setup: Network and configuration.
        total: Number of images, if it is known.
        runtime: The processes.
    """
    config, data = setup.config, setup.config.data
    if data.num_workers is None and total is not None and total <= data.batch_size:
        data = replace(data, num_workers=0)  # to start workers would take longer than the batch

    def load(paths: Sequence[str]) -> ImageLoader:
        source = ImageFiles(Path(), [], [(path, 0) for path in paths])
        source.max_pixels = data.max_pixels
        return build_val_loader(source, setup.predictor.preprocessing, data, runtime)

    batch = data.batch_size * runtime.world_size
    return PredictionStream(
        setup.predictor,
        load,
        batch * math.ceil(CHUNK / batch),
        config.top_k,
        features=config.features,
    )


def find_paths(setup: PredictionSetup, folder: Path, not_read: NotRead) -> Iterator[str]:
    """Yield the paths of the images.

    Args:
        setup: Names of the images.
        folder: Folder of the results; the sheet of an earlier run there is no image to predict.
        not_read: Receives what is passed over.
    """
    assert setup.config.images is not None
    return _without(folder / SHEET, find_images(setup.config.images, not_read))


def _without(file: Path, paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        is_candidate = os.path.basename(path) == file.name and file.exists()
        if not (is_candidate and os.path.exists(path) and file.samefile(path)):
            yield path


@contextmanager
def open_files(setup: PredictionSetup, folder: Path) -> Iterator[list[Write]]:
    """Open the files with the predictions; yield the functions that write rows to them."""
    config, labels = setup.config, setup.labels
    with ExitStack() as stack:
        open_file: Callable[..., Write] = stack.enter_context
        writers = []
        if len(labels):
            writers = [
                open_file(write_csv(folder / CSV, labels, config.top_k, targets=False)),
                open_file(write_json_lines(folder / JSON_LINES, labels)),
            ]
        if config.features:
            writers.append(open_file(write_features(folder / FEATURES)))
        yield writers


def list_files(setup: PredictionSetup, folder: Path) -> list[str]:
    """Return the names of this run's files; remove others that an earlier run has written."""
    of_classes = (CSV, JSON_LINES, SHEET) if setup.predictor.class_names else ()
    names = (*of_classes, FEATURES) if setup.config.features else of_classes
    for name in set(FILES).difference(names):
        (folder / name).unlink(missing_ok=True)
    return [name for name in names if (folder / name).exists()]


def draw_sheet(setup: PredictionSetup, results: Results, folder: Path) -> None:
    """Write the contact sheet; remove that of an earlier run if there is none to write."""
    upright = setup.predictor.preprocessing.interpolation == OPENCV
    name, path, limit = setup.predictor.name, folder / SHEET, setup.config.data.max_pixels
    sheet = results.sheet
    if not sheet.write(path, name, results.predicted, upright=upright, max_pixels=limit):
        path.unlink(missing_ok=True)
