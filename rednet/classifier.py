"""Classify images from Python: `rednet.Classifier("rednet50.safetensors")("photo.jpg")`."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
from os import PathLike, fspath
from typing import Any, get_args, overload

import torch
from torch import Tensor

from rednet.build.inference import build_predictor
from rednet.data import Preprocessing, UnreadableImage, eval_transform
from rednet.data.image_arrays import ImageLike, as_image, is_single
from rednet.errors import InputError
from rednet.inference import Augmentation
from rednet.predictions.classification import Classification, Prediction
from rednet.predictions.rows import NOT_FINITE, ClassLabels, top_classes
from rednet.runtime import AUTOCAST_DTYPES, Runtime, find_device
from rednet.weights import imagenet_preprocessing, override_network, read_checkpoint
from rednet.weights.loading import explain_no_head
from rednet.weights.preprocessing import is_preprocessing
from rednet.wording import printable

_logger = logging.getLogger(__name__)
PRECISIONS = ("fp32", *AUTOCAST_DTYPES)


class Classifier:
    """A trained network that takes images as they are.

    An image is a path, an image of Pillow's, an array or a tensor, see
    `rednet.data.image_arrays.as_image`; it is prepared as in an evaluation. What was assumed about
    a file is a warning of the logger `rednet`.

    Args:
        checkpoint: File of weights of any kind that `evaluate` reads, or a folder for timm.
        model: Name of the network, if the file does not say it.
        model_options: Options of the network that the file does not say.
        preprocessing: Values that replace those of the file, by the names of
            `rednet.data.Preprocessing`, such as ``{"image_size": 160}``.
        device: "auto" (a GPU if there is one), or the name of a torch device.
        precision: "fp32", "bf16" or "fp16" (autocast).
        tta: "hflip" averages the probabilities of each image and its mirror image.
        top_k: Number of classes in `Classification.top`.
        batch_size: Images in a forward pass.

    Attributes:
        model: The network, in evaluation mode; it takes batches of preprocessed images.
        class_names: Names of the classes, by class index; synsets for ImageNet's.
        preprocessing: Preprocessing of the images.

    Raises:
        InputError: The file cannot be read, or an argument is wrong.
    """

    def __init__(
        self,
        checkpoint: str | PathLike[str],
        *,
        model: str | None = None,
        model_options: Mapping[str, Any] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "fp32",
        tta: Augmentation | None = None,
        top_k: int = 5,
        batch_size: int = 32,
    ) -> None:
        _require_choice("precision", precision, PRECISIONS)
        _require_choice("tta", tta, (None, *get_args(Augmentation)))
        _require_count("top_k", top_k)
        _require_count("batch_size", batch_size)
        defaults, given = _preprocessing(preprocessing or {})
        runtime = Runtime(_find_device(device), precision)
        file = read_checkpoint(fspath(checkpoint))
        if model is not None:
            file = override_network(file, model, model_options or {})
        elif model_options:
            raise InputError("model_options: name the network, too: model=...")
        self.top_k, self.batch_size = top_k, batch_size
        self._predictor, notes = build_predictor(file, defaults, given, runtime, tta=tta)
        for note in notes:
            level = logging.INFO if note.startswith("weights: ") else logging.WARNING
            _logger.log(level, f"{printable(file.path)}: {note}")
        self.model, self.preprocessing = self._predictor.model, self._predictor.preprocessing
        self.class_names = list(self._predictor.class_names)
        self._labels = ClassLabels(self.class_names)
        self._transform = eval_transform(self.preprocessing)
        self._no_head = f"{file.label} {explain_no_head(file)}"

    @overload
    def __call__(self, images: ImageLike) -> Classification: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, images: Iterable[ImageLike]) -> list[Classification]: ...

    def __call__(
        self, images: ImageLike | Iterable[ImageLike]
    ) -> Classification | list[Classification]:
        """Classify one image, or each of several.

        Args:
            images: An image, or an iterable of images; an array or a tensor of four dimensions is
                several images, and so is an array of paths.

        Returns:
            A `Classification`, or for several images a list of them.

        Raises:
            InputError: An image cannot be read, or the network has no classifier.
        """
        if not self.class_names:
            raise InputError(f"{self._no_head}: only its features can be used")
        found = [
            result
            for batch in self._batches(images)
            for result in self._results(self._predictor.logits(batch))
        ]
        return found[0] if is_single(images) else found

    def features(self, images: ImageLike | Iterable[ImageLike]) -> Tensor:
        """Return what the classifier gets: the pooled features of the last layer.

        Args:
            images: As for a call.

        Returns:
            Features (features,) of one image or (N, features) of several, float32 on the CPU.

        Raises:
            InputError: An image cannot be read, or the network does not tell its features.
        """
        found = [self._predictor.logits_and_features(batch)[1] for batch in self._batches(images)]
        length = getattr(self.model, "head_hidden_size", 0)
        features = torch.cat(found) if found else torch.empty(0, length)
        return features[0] if is_single(images) else features

    def __repr__(self) -> str:
        predictor = self._predictor
        return (
            f"Classifier({predictor.name}, {len(self.class_names)} classes, "
            f"{self.preprocessing.describe()}, {predictor.runtime.device})"
        )

    def _batches(self, images: Any) -> Iterator[Tensor]:
        each = iter([images] if is_single(images) else images)
        while batch := [self._prepare(image) for image in islice(each, self.batch_size)]:
            yield torch.stack(batch)

    def _prepare(self, image: ImageLike) -> Tensor:
        try:
            return self._transform(as_image(image))
        except UnreadableImage as error:
            raise InputError(f"{error.name} cannot be read: {error.reason}") from error

    def _results(self, logits: Tensor) -> Iterator[Classification]:
        probabilities = logits.softmax(1)
        if not probabilities.isfinite().all():
            raise InputError(f"{NOT_FINITE}: the network has diverged or its weights are damaged")
        tops = zip(*top_classes(logits, self.top_k), strict=True)
        for row, (classes, values) in zip(probabilities, tops, strict=True):
            yield Classification(tuple(map(self._prediction, classes, values)), row)

    def _prediction(self, index: int, probability: float) -> Prediction:
        return Prediction(self._labels.shown[index], probability, self.class_names[index], index)


def _preprocessing(given: Mapping[str, Any]) -> tuple[Preprocessing, list[str]]:
    """Return the preprocessing where a file says nothing, and the keys of the given values."""
    names = [field.name for field in fields(Preprocessing)]
    if unknown := [name for name in given if name not in names]:
        raise InputError(
            f"preprocessing: has no {', '.join(map(str, unknown))}; choose {', '.join(names)}"
        )
    if len({"mean", "std"} & given.keys()) == 1:
        raise InputError("preprocessing: give mean and std together")
    values = {**imagenet_preprocessing(), **given}
    if not is_preprocessing(values):
        raise InputError(
            "preprocessing: image_size must be a whole number of pixels, crop_pct a number above 0 "
            "and up to 1, mean and std numbers for each channel, those of std above 0"
        )
    return Preprocessing(**values), [f"data.{n}" for n in given]


def _find_device(device: str | torch.device) -> torch.device:
    try:
        return find_device(str(device), key="device")
    except RuntimeError as error:
        raise InputError(f"device={device}: torch has no such device") from error


def _require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: choose {', '.join(map(str, choices))}")


def _require_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r}: must be a whole number of at least 1")
