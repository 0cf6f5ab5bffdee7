"""Write tensors with our names to files as other programs do."""

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign_names import openmmlab_names, paddle_arrays
from torch import Tensor

from rednet.weights import Checkpoint, read_checkpoint

Weights = dict[str, Tensor]
LAYERS = {
    26: (1, 2, 4, 1),
    38: (2, 3, 5, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
MMCV_META = {
    "mmcv_version": "1.2.7",
    "mmcls_version": "0.9.0",
    "time": "Mon Mar 15 10:00:00 2021",
    "config": "model = dict(\n    type='ImageClassifier')\n",
    "CLASSES": ["tench", "goldfish"],
    "epoch": 130,
    "iter": 81380,
}


def write_original(weights: Weights, path: Path, **more) -> Path:
    content = {"meta": MMCV_META, "state_dict": openmmlab_names(weights), **more}
    torch.save(content, path)
    return path


def write_paddle(weights: Weights, path: Path, protocol: int = 4, style: str = "table") -> Path:
    arrays = paddle_arrays(weights)
    if style == "table":
        arrays["StructuredToParameterName@@"] = {name: f"conv2d_{name}.w_0" for name in arrays}
    if style == "pairs":
        arrays = {name: PaddleTensor(f"tensor_{name}", array) for name, array in arrays.items()}
    path.write_bytes(pickle.dumps(arrays, protocol))
    return path


class PaddleTensor:
    """A tensor that pickles as newer `paddle.save` pickles one outside a state dict."""

    def __init__(self, name, array):
        self.name, self.array = name, array

    def __reduce__(self):
        return tuple, ((self.name, self.array),)


def write_timm(weights: Weights, path: Path, arch: str = "rednet26", **more) -> Path:
    args = argparse.Namespace(model=arch, lr=0.5, model_kwargs={}, mean=None)
    content = {
        "epoch": 3,
        "arch": arch,
        "state_dict": weights,
        "optimizer": {"state": {}, "param_groups": []},
        "version": 2,
        "args": args,
        "metric": 75.5,
        **more,
    }
    torch.save(content, path)
    return path


def original_shapes(depth: int, stem_kernel: int = 3) -> dict[str, tuple[int, ...]]:
    """Shapes of the original's tensors, written down independently, without its prefixes."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name, channels):
        for parameter in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{parameter}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    def involution(name, channels, kernel):
        out = kernel * kernel * channels // 16
        shapes[f"{name}.conv1.conv.weight"] = (channels // 4, channels, 1, 1)
        norm(f"{name}.conv1.bn", channels // 4)
        shapes[f"{name}.conv2.conv.weight"] = (out, channels // 4, 1, 1)
        shapes[f"{name}.conv2.conv.bias"] = (out,)

    shapes["stem.0.conv.weight"] = (32, 3, 3, 3)
    norm("stem.0.bn", 32)
    involution("stem.1", 32, stem_kernel)
    norm("stem.2", 32)
    shapes["stem.4.conv.weight"] = (64, 32, 3, 3)
    norm("stem.4.bn", 64)
    channels = 64
    for stage, blocks in enumerate(LAYERS[depth]):
        width = 64 * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, channels, 1, 1)
            norm(f"{name}.bn1", width)
            involution(f"{name}.conv2", width, 7)
            norm(f"{name}.bn2", width)
            shapes[f"{name}.conv3.weight"] = (4 * width, width, 1, 1)
            norm(f"{name}.bn3", 4 * width)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    shapes["fc.weight"], shapes["fc.bias"] = (1000, 2048), (1000,)
    return shapes


def make_weights(shapes: dict[str, tuple[int, ...]]) -> Weights:
    torch.manual_seed(0)
    return {
        name: torch.tensor(3) if name.endswith("num_batches_tracked") else torch.randn(shape)
        for name, shape in shapes.items()
    }


WRITERS: dict[str, Callable[..., Path]] = {
    "openmmlab": write_original,
    "paddle": write_paddle,
    "timm": write_timm,
}


@pytest.fixture
def writers() -> dict[str, Callable[..., Path]]:
    """Functions (weights, path, ...) that write a file of each foreign kind, by kind."""
    return WRITERS


@pytest.fixture(scope="session")
def released_shapes() -> Callable[..., dict[str, tuple[int, ...]]]:
    return original_shapes


@pytest.fixture(scope="session")
def released_weights() -> Weights:
    """Random weights of a RedNet-26 as released."""
    return make_weights(original_shapes(26))


@pytest.fixture
def same_weights() -> Callable[[Weights, Weights], None]:
    """Return a function that asserts equal weights; batch counters may differ."""

    def check(ours: Weights, theirs: Weights) -> None:
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype
            assert name.endswith("num_batches_tracked") or torch.equal(tensor, theirs[name]), name

    return check


@pytest.fixture
def tiny(make_tiny):
    """Weights of a small network; its statistics are random, too."""
    weights = dict(make_tiny().state_dict())
    for name, tensor in weights.items():
        if "running" in name:
            weights[name] = torch.rand(tensor.shape) + 0.5
    return weights


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Checkpoint]:
    """Return a function that saves the content of a file and reads it."""

    def save(content: object) -> Checkpoint:
        torch.save(content, tmp_path / "weights.pt")
        return read_checkpoint(tmp_path / "weights.pt")

    return save
