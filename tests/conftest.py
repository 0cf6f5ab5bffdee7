"""Fixtures and settings of all tests."""

import gc
import logging
import os
import shutil
import sys
import tempfile

# Set before torch is imported: the networks here are too small for a second thread, which would
# only slow down tests that run in parallel. Programs that a test starts inherit the setting.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads of a program that has several must not spin while they wait: other tests need the CPU.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# No test may ask the network for a data set or a network.
os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from forked_commands import ForkedCommands
from fresh_python import FreshPython

# The fixtures import torch and timm, so that the controller of pytest-xdist need not.
if TYPE_CHECKING:
    from torch import Tensor

    from rednet import RedNet


def pytest_configure(config: pytest.Config) -> None:
    """Let all processes of a run share the kernels that the emulator compiles."""
    if "REDNET_TEST_EMULATOR" not in os.environ:
        folder = os.environ["REDNET_TEST_EMULATOR"] = tempfile.mkdtemp(prefix="rednet-emulator-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long proofs unless `-m` names them; one on the command line overrides addopts."""
    if "nightly" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="a long proof: -m nightly runs it"))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over all modules and tests from now on."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _cached_configs() -> Iterator[None]:
    """Compose in half the time; the tests of kernels also run where there is no Hydra."""
    if find_spec("hydra") is None:
        yield
        return
    from cached_configs import cached_configs

    with cached_configs():
        yield


@pytest.fixture(scope="session", autouse=True)
def _embedded_images() -> Iterator[None]:
    """Decompress the embedded images once a process."""
    if "torchvision" not in sys.modules:
        yield
        return
    from rednet.data import fashion_mnist

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion_mnist, "_read_embedded", cache(fashion_mnist._read_embedded))
        yield


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Undo what Hydra does to the root logger, whose handlers would outlive the test's stderr."""
    root = logging.getLogger()
    level, handlers = root.level, {*root.handlers}
    yield
    root.setLevel(level)
    for handler in set(root.handlers).difference(handlers):
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(scope="session")
def fresh_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshPython]:
    """Return a Python that runs code as if nothing but torch had been imported."""
    python = FreshPython(tmp_path_factory.mktemp("fresh_python"))
    yield python
    python.close()


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCommands]:
    """Return what runs commands in forks of a process that has imported everything."""
    warm_up = [
        *("train", "experiment=smoke", "model.options.width=0.0625", "data.image_size=12"),
        *("data.train_samples=4", "data.val_samples=4", "data.batch_size=4", "augment=paper"),
        f"output_dir={tmp_path_factory.mktemp('warm_up')}",
    ]
    commands = ForkedCommands(warm_up)
    yield commands
    commands.close()


TINY = {"width": 0.25, "layers": (1, 2, 1, 1), "num_classes": 7}


@pytest.fixture
def make_tiny() -> Callable[..., "RedNet"]:
    """Return a function that builds the same small network each time; every block has an effect."""
    import timm
    import torch
    from torch import nn

    def make(**options):
        torch.manual_seed(0)
        model = timm.create_model("rednet26", **{**TINY, **options})
        for name, module in model.named_modules():
            if name.endswith("bn3") and getattr(module, "weight", None) is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5)
        return model

    return make


@pytest.fixture
def images() -> Callable[..., "Tensor"]:
    """Return a function that makes the same random images each time."""
    import torch

    def make(height=32, width=None, batch=2, channels=3):
        generator = torch.Generator().manual_seed(1)
        return torch.randn(batch, channels, height, width or height, generator=generator)

    return make
