"""The command that draws figures: which figures, of what, and its error messages."""

import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml

from rednet.config import VisualizationConfig, to_yaml, validate

ROOT = Path(__file__).parents[2]
SMALL = {"width": 0.25, "layers": (1, 1, 1, 1)}
PLAIN = {"envelopes", "schedule"}
OF_NETWORK = {"kernels", "taps", "receptive_field"}


def drawn(done):
    """Return the names of the figures that the command printed."""
    assert (done.code, done.err) == (0, "")
    figures = PLAIN | OF_NETWORK
    return {line.partition(":")[0] for line in done.out.splitlines()} & figures


@pytest.fixture
def save_network():
    def save(name="rednet26", **options):
        torch.manual_seed(0)
        kept = {**SMALL, **options} if name == "rednet26" else options
        torch.save(timm.create_model(name, **kept).state_dict(), "weights.pt")
        return ["checkpoint=weights.pt", "data.image_size=32"]

    return save


@pytest.fixture
def image_folder(make_images):
    return make_images("images", ["cat", "dog"], 2)


@pytest.fixture
def draw(visualize, save_network, image_folder):
    """Return a function that draws figures of a small RedNet."""
    given = [*save_network(), f"images={image_folder}", "output_dir=figures"]
    return lambda *argv: visualize(*given, *argv)


def test_figures_without_a_network(visualize):
    done = visualize("output_dir=figures")
    assert drawn(done) == PLAIN
    assert done.last_line == "figures are in figures"
    stems = ("accuracy-complexity", "accuracy-parameters", "schedule")
    assert {path.name for path in Path("figures").iterdir()} == {
        *(f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")),
        "accuracy.csv",
        "schedule.csv",
        "visualization.yaml",
    }


def test_any_schedule(visualize):
    argv = ["schedule=step", "lr=0.2", "steps_per_epoch=10", "output_dir=figures"]
    assert drawn(visualize("figures=[schedule]", *argv)) == {"schedule"}
    with Path("figures/schedule.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in (rows[0], rows[-1])] == pytest.approx([0.2, 0.0002])
    assert rows[-1]["step"] == "899"


def test_all_figures_with_a_network(draw, image_folder):
    done = draw()
    assert drawn(done) == PLAIN | OF_NETWORK
    lines = done.out.splitlines()
    assert lines[0] == "checkpoint=weights.pt; images: 4"
    assert lines[1].startswith("32 px, crop 0.875, bilinear, mean 0.485 0.456 0.406, std 0.229")
    assert lines[2].startswith("assumed: stem involution3 rather than small; act_layer relu")
    for layer in ("layer1.0", "layer2.0", "layer3.0", "layer4.0"):
        assert Path(f"figures/kernels-{layer}.svg").is_file()
    text = Path("figures/visualization.yaml").read_text()
    config = validate(yaml.safe_load(text), VisualizationConfig)
    assert to_yaml(config) == text
    assert (config.images, config.data.image_size) == ([str(image_folder)], 32)


def test_the_kernels_of_a_layer(draw, image_folder):
    more = [
        "layers=[stem]",
        "groups=1",
        "overlay=0.6",
        "smooth=false",
        "max_rows=3",
        "shared_scale=true",
    ]
    files = f"images=[{image_folder}/cat/1.png,{image_folder}]"
    done = draw("figures=[kernels]", files, *more, "max_images=4")
    assert drawn(done) == {"kernels"}
    assert done.out.startswith("checkpoint=weights.pt; images: 4, the first of 5 (max_images)\n")
    with np.load("figures/kernels-stem.npz") as numbers:
        assert numbers["images"].tolist() == ["1", "0", "1"]
        assert numbers["sums"].shape == (3, 1, 16, 16)
    assert not list(Path("figures").glob("kernels-layer*"))


def test_a_network_of_gray_images(visualize, save_network, image_folder):
    argv = ["figures=[taps,receptive_field]", f"images={image_folder}", "output_dir=figures"]
    network = save_network(in_chans=1)
    assert visualize(*network, *argv).error == (
        "checkpoint=weights.pt: takes images with 1 channel, but data.mean and data.std have 3 "
        "numbers: give 1 each"
    )
    gray = ["data.mean=[0.5]", "data.std=[0.25]"]
    assert drawn(visualize(*network, *argv, *gray)) == {"taps", "receptive_field"}


def test_a_choice_of_data_where_the_file_says_how_images_are_prepared(
    visualize, trained, image_folder
):
    last = f"checkpoint={trained}/checkpoints/last.pt"
    argv = ["figures=[receptive_field]", last, f"images={image_folder}", "data=fashion_mnist"]
    assert visualize(*argv).error.startswith(f"data: has no effect, {last} says how images are pre")


def test_preprocessing_is_the_checkpoints_unless_explicit(visualize, trained, image_folder):
    last = f"checkpoint={trained}/checkpoints/last.pt"  # gray images of 32 pixels
    argv = ["figures=[receptive_field]", last, f"images={image_folder}"]
    visualize(*argv, "output_dir=own")
    visualize(*argv, "data.image_size=48", "output_dir=explicit")
    for folder, size in (("own", 32), ("explicit", 48)):
        with np.load(f"{folder}/receptive-field.npz") as numbers:
            assert numbers["influences"].shape[1:] == (size, size)


def test_a_network_without_involution(visualize, save_network, image_folder):
    argv = [*save_network("test_resnet", num_classes=10), "model=timm", "model.name=test_resnet"]
    argv += [f"images={image_folder}", "output_dir=figures"]
    done = visualize(*argv)
    assert drawn(done) == PLAIN | OF_NETWORK
    assert "kernels: the network has no involution: skipped" in done.out
    assert "taps: the network has no involution: skipped" in done.out
    assert not list(Path("figures").glob("taps*"))
    assert visualize(*argv, "figures=[taps]").error == "taps: the network has no involution"


MISTAKES = [
    (["figures=[taps]"], "checkpoint=... is needed for taps", "images=... is needed for taps"),
    (["images=x"], "checkpoint=... is needed for kernels, taps, receptive_field"),
    (["checkpoint=x"], "images=... is needed for kernels, taps, receptive_field"),
    (["groups=4"], "groups: only figures=[kernels] use it"),
    (["data.image_size=4"], "data.image_size: only figures=[kernels,taps,receptive_field] use it"),
    (["figures=[envelopes]", "lr=1"], "lr: only figures=[schedule] use it"),
    (
        ["figures=[map]"],
        "figures[0]: must be envelopes, schedule, kernels, taps or receptive_field",
    ),
    (["figures=[]"], "figures: must have 1 or more entries"),
    (["overlay=2"], "overlay: must be at most 1"),
    (["images=[]"], "images: must have 1 or more entries or null, got []"),
    (["images=[1]"], "images[0]: must be text"),
    (["trainer.precision=bf16"], "trainer.precision: this command does not use it"),
    (["optimizer.lr=1"], "optimizer.lr: this command does not use it"),
    (["opacity=1"], "unknown key 'opacity'"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: " ".join(mistake[0]))
def test_mistakes_on_the_command_line(mistake, visualize):
    argv, *lines = mistake
    done = visualize(*argv)
    assert (done.code, done.out) == (2, "")
    found = done.err.splitlines()
    assert len(found) == len(lines)
    for line, start in zip(found, lines, strict=True):
        assert line.startswith(f"error: {start}")
    assert not Path("runs").exists()


def test_a_layer_that_is_not_there(draw):
    assert draw("layers=[layer2.1]").error == (
        "layers: 'layer2.1' has no involution; these have: "
        "stem, layer1.0, layer2.0, layer3.0, layer4.0"
    )
    assert not Path("figures").exists()


def test_images_that_are_not_there_or_none(draw, image_folder):
    assert draw("images=nowhere").error == "images=nowhere: no such file or folder"
    (image_folder / "cat" / "0.png").write_bytes(b"no image")
    assert draw().error.startswith(f"images: 1 image cannot be read: {image_folder}/cat/0.png (")
    assert not Path("figures").exists()


def test_a_checkpoint_that_is_not_there(visualize, image_folder):
    error = visualize("checkpoint=nothing.pt", f"images={image_folder}").error
    assert error == "checkpoint=nothing.pt: no such file"


def test_a_checkpoint_of_another_network(draw):
    assert "not for rednet101" in draw("model=rednet101").error
    assert not Path("figures").exists()


def test_images_of_a_size_that_the_network_does_not_take(visualize, save_network, image_folder):
    network = [*save_network("test_vit"), "model=timm", "model.name=test_vit"]
    error = visualize(*network, f"images={image_folder}", "data.image_size=20").error
    assert error.startswith("model test_vit fails on images of 3x20x20: ")


def test_a_network_that_timm_does_not_know(visualize, save_network, image_folder):
    network = [*save_network("test_resnet"), "model=timm", "model.name=test_rasnet"]
    assert "test_rasnet" in visualize(*network, f"images={image_folder}").error


def test_the_script(monkeypatch, capsys):
    argv = [str(ROOT / "scripts" / "visualize.py"), "figures=[schedule]", "output_dir=figures"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(argv[0], run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr() == ("schedule: schedule\nfigures are in figures\n", "")
