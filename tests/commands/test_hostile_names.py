"""Names of files, folders, classes and tensors reach the terminal and text files escaped."""

import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from rednet import commands

pytestmark = pytest.mark.usefixtures("drawn")

# A line of its own, a terminal sequence, and reversed text.
HOSTILE = "a\nerror: FORGED\x1b[31m\u202e"
BYTES = f"{HOSTILE}\udcff"  # and a byte that is no UTF-8, which a configuration cannot hold


def quoted(name):
    """Quote a value in Hydra's grammar."""
    return "'" + str(name).replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.fixture
def safe(capfd):
    """Return a function that runs a command and asserts that its output is harmless."""

    def run(command, *argv, code=None):
        capfd.readouterr()
        returned = command(list(argv))
        sys.stdout.flush()
        out, err = capfd.readouterr()
        assert code in (None, returned), err
        for line in (out + err).splitlines():
            assert line.isprintable(), line
            assert not line.startswith("error: FORGED"), out + err
        return out, err

    return run


@pytest.fixture
def images(tmp_path):
    """A folder with a hostile name, of classes and images with hostile names."""
    root = tmp_path / HOSTILE
    for number, name in enumerate((f"cat{BYTES}", f"dog{BYTES}")):
        for index in range(4):
            path = root / name / f"{index}{BYTES}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([number, index]).integers(0, 256, (40, 48, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(os.fsencode(path), "png")
    return root


SMALL = (
    *("data.num_workers=0", "trainer.device=cpu", "data.batch_size=4", "data.image_size=32"),
    *("model=timm", "model.name=test_resnet", "schedule=constant", "schedule.epochs=1"),
)


def test_a_run_and_what_follows(safe, images, tmp_path):
    folder = tmp_path / f"out{HOSTILE}"
    data = ("data=image_folder", f"data.root={quoted(images)}")
    broken = images / f"cat{BYTES}" / f"x{BYTES}.png"
    broken.write_bytes(b"no image")
    train = (*SMALL, *data, f"output_dir={quoted(folder)}", "data.on_unreadable=skip")
    safe(commands.train, *train, code=0)
    safe(commands.train, *train, code=0)  # nothing left to do
    safe(commands.train, *train, "seed=5", code=2)
    checkpoint = f"checkpoint={quoted(folder / 'checkpoints' / 'last.pt')}"
    out = f"output_dir={quoted(tmp_path / f'second{HOSTILE}')}"
    evaluate = (checkpoint, *data, *SMALL[:2], "data.on_unreadable=skip", "predictions=true", out)
    safe(commands.evaluate, *evaluate, code=0)
    tune = (checkpoint, *SMALL[:3], *data, "data.on_unreadable=skip", "trainer.max_steps=1")
    safe(commands.train, *tune, code=0)
    target = f"output={quoted(tmp_path / f'{HOSTILE}.safetensors')}"
    safe(commands.convert_weights, checkpoint, target, code=0)
    safe(commands.convert_weights, checkpoint, target, code=2)
    safe(commands.info, checkpoint, code=0)
    safe(commands.info, checkpoint, "format=json", code=0)
    figures = (checkpoint, f"images={quoted(images)}", "figures=[receptive_field]", out)
    safe(commands.visualize, *figures, "max_images=1", "trainer.device=cpu")
    for path in tmp_path.rglob("*"):
        if path.suffix in (".csv", ".yaml", ".jsonl", ".md"):
            text = path.read_text()
            assert all(line.isprintable() for line in text.split("\n")), path
            assert "\nerror: FORGED" not in text, path


VISUALIZE = pytest.param("visualize", marks=pytest.mark.nightly)  # its keys are those of others


@pytest.mark.parametrize("name", ["train", "evaluate", "convert_weights", VISUALIZE])
def test_mistakes(name, safe, tmp_path):
    command = getattr(commands, name)
    hostile = quoted(tmp_path / HOSTILE)
    for key in (
        *("checkpoint", "output_dir", "output", "images", "data.root", "resume", "data"),
        *("model.name", "experiment", "seed", "layers", "data.mean", "nonsense", "trainer.device"),
    ):
        # A folder for output is fine where figures need nothing else.
        safe(command, f"{key}={hostile}", code=None if key == "output_dir" else 2)
    safe(command, f"{HOSTILE}=1", code=2)
    safe(command, HOSTILE, code=2)
    safe(command, f"--{HOSTILE}", code=2)
    safe(command, "--config-dir", HOSTILE, code=2)
    safe(command, "--config-name", HOSTILE, code=2)


def test_files_of_weights(safe, tmp_path):
    path = tmp_path / f"weights{HOSTILE}.pt"
    checkpoint, target = (
        f"checkpoint={quoted(path)}",
        f"output={quoted(tmp_path / 'o.safetensors')}",
    )
    weight = torch.ones(3)
    for content in (
        {HOSTILE: weight},
        {HOSTILE: 3},
        {"model": {"name": HOSTILE, "options": {}}, "state_dict": {"a": weight}},
        {"model": {"name": "rednet26", "options": {HOSTILE: 1}}, "state_dict": {"a": weight}},
        {"arch": HOSTILE, "state_dict": {HOSTILE: weight}},
        {"format": f"rednet{HOSTILE}", "state_dict": {"a": weight}},
        {"state_dict": {f"{HOSTILE}.a": weight, f"{HOSTILE}.b": weight}},
        {HOSTILE: {"a": weight}, f"b{HOSTILE}": {"a": weight}},
    ):
        torch.save(content, path)
        safe(commands.convert_weights, checkpoint, target, code=2)
        safe(commands.evaluate, checkpoint, "data=fashion_mnist", "model=rednet26", code=2)
    path.write_bytes(b"nothing")
    safe(commands.convert_weights, checkpoint, target, code=2)
