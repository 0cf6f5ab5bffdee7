"""Fashion-MNIST: the embedded balanced subset, or the full set from a folder of IDX files.

Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv 1708.07747. MIT licence, see FASHION_MNIST_LICENSE in this folder.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from rednet.data.sources import Splits
from rednet.errors import InputError
from rednet.wording import count, printable

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
EMBEDDED_FILE = Path(__file__).parent / "fashion_mnist.npz"
IMAGE_SHAPE = (28, 28)
_PREFIXES = {"train": "train", "test": "t10k"}
_GZIP_MAGIC = b"\x1f\x8b"


class ArrayImages:
    """A source of gray images, held in a uint8 array (N, H, W)."""

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray, class_names: list[str]):
        self.name = name
        self.images = images
        self.targets: list[int] = labels.tolist()
        self.class_names = class_names

    @property
    def relative_names(self) -> np.ndarray:
        """Split and index of every image."""
        return np.array([self.name_of(index).encode() for index in range(len(self))])

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Image.Image:
        """Return an image in mode L."""
        return Image.fromarray(self.images[index])

    def check(self, index: int) -> None:
        """Do nothing: the images are in memory."""

    def read_bytes(self, index: int) -> bytes:
        """Return the pixels of an image."""
        return self.images[index].tobytes()

    def name_of(self, index: int) -> str:
        """Return the split and the index, such as ``fashion_mnist/train/17``."""
        return f"{self.name}/{index}"


def open_fashion_mnist(root: str | None = None) -> Splits:
    """Open the embedded subset (10,000 and 2,000 images), or the IDX files in ``root``.

    Raises:
        InputError: A file in ``root`` is missing, damaged or not an IDX file of this data set.
    """
    arrays = _read_embedded() if root is None else read_idx_folder(Path(root))
    train, test = (
        ArrayImages(f"fashion_mnist/{split}", *arrays[split], list(CLASS_NAMES))
        for split in ("train", "test")
    )
    origin = "the package" if root is None else printable(root)
    origins = dict.fromkeys(("train", "val", "test"), origin)
    return Splits(train=train, val=test, test=test, origins=origins)


def _read_embedded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with np.load(EMBEDDED_FILE, allow_pickle=False) as file:
        return {split: (file[f"{split}_images"], file[f"{split}_labels"]) for split in _PREFIXES}


def read_idx_folder(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the images (N, 28, 28) and labels (N,) of both splits from IDX files, gzipped or not."""
    if not folder.is_dir():
        raise InputError(f"data folder {folder} does not exist: expected a folder of IDX files")
    return {split: _read_pair(folder, prefix) for split, prefix in _PREFIXES.items()}


def _read_pair(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    images_path = _find(folder, f"{prefix}-images-idx3-ubyte")
    labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if images.shape[1:] != IMAGE_SHAPE:
        raise InputError(
            f"{images_path} has images of size {images.shape[1:]}, expected {IMAGE_SHAPE}"
        )
    if len(images) != len(labels):
        raise InputError(
            f"{labels_path} has {count(len(labels), 'label')} for {count(len(images), 'image')}"
        )
    if not len(labels) or labels.max() >= len(CLASS_NAMES):
        raise InputError(f"{labels_path} must have labels from 0 to {len(CLASS_NAMES) - 1}")
    return images, labels


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"data folder {folder} has neither {name} nor {name}.gz")


def _read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read an IDX file of bytes: magic 0, 0, 8, ndim; sizes as big-endian uint32; data."""
    content = _read_bytes(path)
    start = 4 + 4 * ndim
    if len(content) < start or content[:4] != bytes((0, 0, 8, ndim)):
        raise InputError(f"{path} is not an IDX file of bytes with {count(ndim, 'dimension')}")
    shape = tuple(np.frombuffer(content, ">u4", count=ndim, offset=4).tolist())
    if len(content) != start + int(np.prod(shape)):
        raise InputError(
            f"{path} has {count(len(content) - start, 'byte')} of data, but its header "
            f"says {shape}: the file is truncated or damaged, download it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; download it again") from error
