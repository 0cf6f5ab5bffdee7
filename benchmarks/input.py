"""Images per second from the disk to a batch: each stage, against timm and torchvision.

All contenders read the same files and draw the same crops, except torchvision, which draws its own.
A batch is one of 8-bit pixels, as timm's workers hand it to the device; where it says floats, the
CPU normalizes. The stages are reading, decoding, decoding with the crop and its resizing, flipping
and collating, and all of them.
"""

import io
import multiprocessing
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_loader, create_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.loader import fast_collate
from torch.utils.data import Dataset, default_collate
from torchvision import transforms

from benchmarks.input_sources import Source
from benchmarks.turns import Clock, Ratio, Spread, Work, take_turns
from rednet.data import (
    Augmentation,
    ImageDataset,
    ImageLoader,
    Preprocessing,
    TrainSampler,
    collate,
    train_transform,
)
from rednet.data.cropping import RandomCrop
from rednet.data.normalization import Normalization
from rednet.data.seeding import hash_seed, seeded
from rednet.data.transforms import to_pixels
from rednet.decoding import decode_jpeg

CPU = torch.device("cpu")
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
BATCH = 32
FILTER = Image.Resampling.BILINEAR
Row = dict[str, Any]


def measure_source(
    name: str,
    source: Source,
    files: Source,
    size: int,
    turns: int,
    on_turn: Work,
    clock: Clock,
    stages: Sequence[str],
) -> Iterator[Row]:
    """Time each stage of a source on one core.

    Args:
        name: The source's name.
        source: The images.
        files: The same images as original files, which timm reads as the baseline of samples.
        size: Height and width of a crop after it is resized, in pixels.
        turns: Turns of each contender.
        on_turn: Called after every round of turns.
        clock: Clock of the turns.
        stages: Stages that are measured, of `STAGES`.

    Yields:
        A row for each contender of each stage; the first contender of a stage is what the others
        are compared with.
    """
    makers: dict[str, Callable[[], dict[str, Work]]] = {
        "read": lambda: _read(source),
        "decode": lambda: _decode(source, size),
        "crop": lambda: _crop(source, size),
        "collate": lambda: _finish(source, size),
        "sample": lambda: _samples(source, files, size),
    }
    for stage in stages:
        times = take_turns(makers[stage](), turns, CPU, on_turn, clock)
        yield from _rows({"source": name, "stage": stage}, times, len(source))


def measure_loaders(
    name: str, source: Source, size: int, workers: int, turns: int, on_turn: Work
) -> list[Row]:
    """Time an epoch of both loaders with a number of workers, by the clock on the wall.

    On a CPU the process that waits for the batches also normalizes them. Batches left as pixels
    show what the workers alone can do, and as many processes that make samples and hand them to
    nobody show what the machine allows.
    """
    dataset = ImageDataset(source, _transform(size, decode_jpeg))
    sampler = TrainSampler(len(source), min(BATCH, len(source)))
    theirs = create_loader(
        _TimmImages(source),
        (3, size, size),
        min(BATCH, len(source)),
        is_training=True,
        color_jitter=None,
        scale=SCALE,
        ratio=RATIO,
        interpolation="bilinear",
        num_workers=workers,
        device=CPU,
    )
    with ImageLoader(dataset, sampler, num_workers=workers) as ours:
        contenders: dict[str, Work] = {
            "timm": lambda: [None for _ in theirs],
            "rednet": lambda: [batch.normalization(batch.images) for batch in ours],
            "rednet, left as pixels": lambda: [None for _ in ours],
            "samples only": lambda: _make_samples(dataset, workers),
        }
        times = take_turns(contenders, turns, CPU, on_turn)
    stage = f"loader, {workers} workers"
    return _rows({"source": name, "stage": stage}, times, len(source))


def _make_samples(dataset: ImageDataset, processes: int) -> None:
    """Make every sample once, the images divided among forked processes."""

    def make(first: int) -> None:
        for index in range(first, len(dataset), processes):
            dataset[0, index]

    fork = multiprocessing.get_context("fork")
    makers = [fork.Process(target=make, args=(first,)) for first in range(processes)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()


def _rows(case: Row, times: Mapping[str, Sequence[float]], images: int) -> list[Row]:
    baseline, *_ = times
    return [
        {
            **case,
            "contender": contender,
            "images_per_second": vars(Spread.of([images / each for each in seconds])),
            "baseline": baseline,
            "over_baseline": vars(Ratio.of(times[baseline], seconds)),
        }
        for contender, seconds in times.items()
    ]


def _read(source: Source) -> dict[str, Work]:
    return {"rednet": lambda: [source.read_bytes(index) for index in range(len(source))]}


def _contents(source: Source) -> list[bytes]:
    return [source.read_bytes(index) for index in range(len(source))]


def _headers(source: Source) -> list[tuple[bytes, Image.Image]]:
    return [(content, Image.open(io.BytesIO(content))) for content in _contents(source)]


def _pillow(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _decode(source: Source, size: int) -> dict[str, Work]:
    files = _headers(source)
    boxes = _Boxes(size)
    return {
        "Pillow": lambda: [_pillow(content) for content, _ in files],
        "rednet, whole": lambda: [
            decode_jpeg(content, header.size, (0, 0, *header.size)) for content, header in files
        ],
        "rednet, crop": lambda: [
            decode_jpeg(content, header.size, box)
            for (content, header), box in zip(files, boxes(files), strict=True)
        ],
    }


def _crop(source: Source, size: int) -> dict[str, Work]:
    files = _headers(source)
    boxes = [_Boxes(size) for _ in range(2)]

    def pillow() -> None:
        for (content, _), (left, top, width, height) in zip(files, boxes[0](files), strict=True):
            crop = _pillow(content).crop((left, top, left + width, top + height))
            crop.resize((size, size), FILTER)

    def ours() -> None:
        for (content, header), box in zip(files, boxes[1](files), strict=True):
            decode_jpeg(content, header.size, box, interpolation="bilinear", new_size=(size, size))

    return {"Pillow": pillow, "rednet": ours}


class _Boxes:
    """Crops that change from call to call."""

    def __init__(self, size: int) -> None:
        self.crop, self.epochs = RandomCrop(size, SCALE, RATIO, "bilinear"), count()

    def __call__(self, files: Sequence[tuple[bytes, Image.Image]]) -> list[tuple[int, ...]]:
        """Return a box for each file: left, top, width and height."""
        with seeded(next(self.epochs)):
            return [self.crop.draw(header) for _, header in files]


def _finish(source: Source, size: int) -> dict[str, Work]:
    images = [_pillow(content).resize((size, size)) for content in _contents(source)[:BATCH]] * -(
        -len(source) // BATCH
    )
    images = images[: len(source)]
    flip = transforms.RandomHorizontalFlip()
    normalize = Normalization(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)

    def floats() -> None:
        for batch in _batches(images):
            torch.stack([normalize(to_pixels(flip(image)).contiguous()) for image in batch])

    def pixels() -> None:
        for batch in _batches(images):
            torch.stack([to_pixels(flip(image)).permute(1, 2, 0) for image in batch])

    return {"floats": floats, "rednet": pixels}


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _transform(size: int, decode: Any) -> Callable[..., Any]:
    preprocessing = Preprocessing(
        size, 0.875, "bilinear", IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    )
    return train_transform(preprocessing, Augmentation(SCALE, RATIO, 0.5), decode)


def _samples(source: Source, files: Source, size: int) -> dict[str, Work]:
    indices = range(len(source))
    common = {"input_size": size, "is_training": True, "color_jitter": None}
    common |= {"interpolation": "bilinear", "scale": SCALE, "ratio": RATIO}
    floats = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, SCALE, RATIO),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ]
    )

    def ours(decode: Any) -> Work:
        dataset, epochs = ImageDataset(source, _transform(size, decode)), count()

        def work() -> None:
            epoch = next(epochs)
            for batch in _batches(indices):
                collate([dataset[epoch, index] for index in batch])

        return work

    def theirs(
        transform: Callable[..., Any], stack: Callable[..., Any], source: Source = source
    ) -> Work:
        epochs = count()

        def work() -> None:
            epoch = next(epochs)
            for batch in _batches(indices):
                samples = []
                for index in batch:
                    random.seed(hash_seed(0, epoch, index))  # the crops of the others
                    samples.append((transform(_pillow(source.read_bytes(index))), 0))
                stack(samples)

        return work

    pixels = create_transform(**common, use_prefetcher=True)
    return {
        "timm from files": theirs(pixels, fast_collate, files),
        "timm": theirs(pixels, fast_collate),
        "timm, floats": theirs(create_transform(**common), default_collate),
        "torchvision, floats": theirs(floats, default_collate),
        "rednet, Pillow only": ours(None),
        "rednet": ours(decode_jpeg),
    }


class _TimmImages(Dataset[tuple[np.ndarray, int]]):
    """The images of a source as one of timm's data sets."""

    def __init__(self, source: Source) -> None:
        self.source, self.transform = source, None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        assert self.transform is not None
        return self.transform(_pillow(self.source.read_bytes(index))), 0
