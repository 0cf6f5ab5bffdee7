"""Which images an evaluation reads, from every folder that it may be given."""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rednet.build.data import build_splits
from rednet.build.opening import open_splits
from rednet.build.splits import choose_images
from rednet.config import compose, to_yaml
from rednet.data import describe_splits
from rednet.errors import InputError
from rednet.weights import Checkpoint

SPLIT = ("seed=3", "data.val_fraction=0.25")
PETS = [f"{name}/{number}.png" for name in ("cat", "dog", "emu") for number in range(8)]
HELD_OUT = 6


def write_images(root, names, first=0):
    """Write images that all differ."""
    for number, name in enumerate(names, first):
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6), np.uint8)
        Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of classes, all with other images: one without splits, two with."""
    root = tmp_path_factory.mktemp("folders")
    write_images(root / "pets", PETS)
    for number, split in enumerate(("train", "val", "test"), 1):
        write_images(root / "splits" / split, PETS[:: number + 1], 100 * number)
    write_images(root / "namesakes", PETS, 1000)
    write_images(root / "other", [name.replace("/", "/other") for name in PETS], 2000)
    return root


@pytest.fixture(autouse=True)
def _in_the_folders(folders, monkeypatch):
    monkeypatch.chdir(folders)


@cache
def composed():
    return compose("train", ["data=image_folder", "data.root=pets", *SPLIT, "model=rednet26"])


def configure(root, **options):
    return replace(composed(), data=replace(composed().data, root=str(root), **options))


def trained_on(root, *, without=(), **options):
    """Return a checkpoint of a run on a folder, without some keys of its content."""
    config = configure(root, **options)
    description = describe_splits("image_folder", build_splits(config.data, config.seed))
    content = {"config": to_yaml(config), "data": description}
    content = {key: value for key, value in content.items() if key not in without}
    return Checkpoint(Path("best.pt"), "rednet", content, {})


FOREIGN = Checkpoint(Path("best.pth"), "state-dict", {}, {})


def choose(checkpoint, root, *explicit, seed=0, **options):
    data = configure(root, **{"val_fraction": 0.1, **options}).data
    return choose_images(data, seed, checkpoint, explicit)


def names(source):
    return {source.name_of(index) for index in range(len(source))}


def halves_of(root, fraction=0.25, seed=3):
    splits = open_splits(configure(root, val_fraction=fraction).data, seed)
    return names(splits.train), names(splits.val)


def test_the_folder_of_the_training_is_split_as_in_training():
    checkpoint = trained_on("pets")
    chosen = choose(checkpoint, "pets")
    assert names(chosen.source) == halves_of("pets")[1]
    assert chosen.describe() == (
        f"{HELD_OUT} of 24 images of pets (validation part, split as in training)"
    )
    assert chosen.data.val_fraction == 0.25
    assert chosen.notes == ()


@pytest.mark.parametrize("move", ["copied", "linked", "absolute"])
def test_the_same_folder_elsewhere(move, tmp_path):
    checkpoint = trained_on("pets")
    root = tmp_path / "staged"
    if move == "copied":
        shutil.copytree("pets", root)
    elif move == "linked":
        root.symlink_to(Path("pets").resolve())
    else:
        root = Path("pets").resolve()
    chosen = choose(checkpoint, root)
    assert {Path(name).relative_to(root) for name in names(chosen.source)} == {
        Path(name).relative_to("pets") for name in halves_of("pets")[1]
    }


@pytest.mark.parametrize("root", ["other", "splits/val"])
def test_another_folder_is_evaluated_completely(root):
    chosen = choose(trained_on("pets"), root)
    total = len(chosen.source)
    assert chosen.describe() == f"{total} of {total} images of {root}"
    assert chosen.notes == ()


def test_a_folder_with_the_same_names_but_other_images():
    chosen = choose(trained_on("pets"), "namesakes")
    assert chosen.describe() == "24 of 24 images of namesakes"
    assert chosen.notes == (
        "warning: the files have the names of the training images, but other contents; all are "
        "evaluated; if the training split this folder, data.split=val evaluates the part that it "
        "held out",
    )


def test_a_file_that_was_repaired_since(tmp_path):
    shutil.copytree("pets", tmp_path / "pets")
    checkpoint = trained_on(tmp_path / "pets")
    write_images(tmp_path / "pets", ["emu/3.png"], 900)
    assert len(choose(checkpoint, tmp_path / "pets").source) == HELD_OUT


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_lone_split_of_a_training_with_splits(split):
    chosen = choose(trained_on("splits"), f"splits/{split}")
    total = len(PETS[:: {"val": 3, "test": 4}[split]])
    assert chosen.describe() == f"{total} of {total} images of splits/{split}"
    assert chosen.notes == ()


def test_training_images_are_evaluated_with_a_warning():
    (warning,) = choose(trained_on("splits"), "splits/train").notes
    assert warning == (
        "warning: training images are among them (12 of 12 looked for); all are evaluated; if the "
        "training split this folder, data.split=val evaluates the part that it held out"
    )


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_a_folder_that_has_changed_since(change, tmp_path):
    """Nothing tells its training images apart, but that there are some is known."""
    checkpoint = trained_on("pets")
    root = tmp_path / "changed"
    shutil.copytree("pets", root)
    if change == "added":
        write_images(root, ["emu/new.png"], 500)
    elif change == "removed":
        (root / "dog/4.png").unlink()
    else:
        (root / "dog/4.png").rename(root / "dog/four.png")
    chosen = choose(checkpoint, root)
    total = {"added": 25, "removed": 23, "renamed": 24}[change]
    assert chosen.describe() == f"{total} of {total} images of {root}"
    (warning,) = chosen.notes
    assert warning.startswith("warning: training images are among them (1")
    part = choose(checkpoint, root, split="val")
    assert part.describe() == (
        f"6 of {total} images of {root} (validation part, split with seed=3 and "
        "data.val_fraction=0.25)"
    )
    before = {Path(name).name for name in halves_of("pets")[1]}
    assert len({Path(name).name for name in names(part.source)} - before) <= 2


def test_the_same_names_with_other_images_are_no_training_images():
    checkpoint = trained_on("splits")
    assert choose(checkpoint, "pets").notes == ()


def test_halves_where_the_training_split_a_folder():
    chosen = choose(trained_on("pets"), "splits")
    assert chosen.describe() == "8 of 8 images of splits/val"


def test_halves_that_the_training_had_too():
    chosen = choose(trained_on("splits"), "splits")
    assert chosen.describe() == "8 of 8 images of splits/val"
    assert chosen.notes == ()


@pytest.mark.parametrize(("split", "total"), [("train", 12), ("val", 8), ("test", 6)])
def test_the_user_chooses_a_split(split, total):
    chosen = choose(trained_on("splits"), "splits", split=split)
    assert chosen.describe() == f"{total} of {total} images of splits/{split}"
    assert chosen.notes == ()


@pytest.mark.parametrize(
    ("split", "text"),
    [
        (None, "2000 of 2000 images of fashion_mnist (validation images)"),
        ("test", "2000 of 2000 images of fashion_mnist (test images)"),
        ("train", "10000 of 10000 images of fashion_mnist (training images)"),
    ],
)
def test_halves_of_one_file(split, text):
    data = replace(configure("pets").data, name="fashion_mnist", root=None, split=split)
    assert choose_images(data, 0, FOREIGN, ()).describe() == text


def test_training_images_in_the_validation_folder(tmp_path):
    shutil.copytree("splits", tmp_path / "leaky")
    shutil.copytree("splits/train/dog", tmp_path / "leaky/val/dog", dirs_exist_ok=True)
    (warning,) = choose(trained_on("splits"), tmp_path / "leaky").notes
    assert warning == "warning: training images are among them (4 of 12 looked for)"


def test_the_user_chooses_a_part():
    checkpoint = trained_on("pets")
    train, val = halves_of("pets")
    assert names(choose(checkpoint, "pets", split="train").source) == train
    assert names(choose(checkpoint, "pets", split="val").source) == val
    with pytest.raises(InputError, match=r"data.split=test: pets has no test images"):
        choose(checkpoint, "pets", split="test")
    with pytest.raises(InputError, match=r"data.split=train: splits/val has no training images"):
        choose(FOREIGN, "splits/val", "data.val_fraction", split="train", val_fraction=1)


@pytest.mark.parametrize("checkpoint", ["ours", "foreign"])
def test_the_user_splits_a_folder(checkpoint):
    checkpoint = trained_on("pets") if checkpoint == "ours" else FOREIGN
    chosen = choose(checkpoint, "pets", "seed", "data.val_fraction", seed=4, val_fraction=0.5)
    assert names(chosen.source) == halves_of("pets", 0.5, 4)[1]
    assert chosen.describe() == (
        "12 of 24 images of pets (validation part, split with seed=4 and data.val_fraction=0.5)"
    )
    everything = choose(checkpoint, "pets", "data.val_fraction", val_fraction=1.0)
    assert len(everything.source) == 24


def test_training_images_in_a_split_of_the_users_are_said():
    (warning,) = choose(trained_on("pets"), "pets", "seed", seed=4).notes
    assert warning.startswith("warning: training images are among them (")


def test_the_split_of_the_training_can_be_typed():
    chosen = choose(
        trained_on("pets"), "pets", "seed", "data.val_fraction", seed=3, val_fraction=0.25
    )
    assert chosen.describe().endswith("(validation part, split as in training)")


@pytest.mark.parametrize("key", ["seed", "data.val_fraction"])
def test_a_split_of_separate_halves(key):
    with pytest.raises(InputError, match=rf"^{key}: nothing is split, since splits has separate"):
        choose(FOREIGN, "splits", key)


def test_foreign_weights_are_evaluated_on_all_of_a_folder():
    chosen = choose(FOREIGN, "pets")
    assert (chosen.describe(), chosen.notes) == ("24 of 24 images of pets", ())
    assert names(choose(FOREIGN, "pets", split="val").source) == halves_of("pets", 0.1, 0)[1]


def test_one_image_in_each_class(tmp_path):
    write_images(tmp_path, ["cat/1.png", "dog/1.png"])
    assert choose(FOREIGN, tmp_path).describe() == f"2 of 2 images of {tmp_path}"
    with pytest.raises(InputError, match=r"data.split=val: .* has no validation images"):
        choose(FOREIGN, tmp_path, split="val")


def test_a_file_without_fingerprints_knows_its_folder_by_the_path():
    checkpoint = trained_on("pets", without=["data"])
    for root in ("pets", Path("pets").resolve()):
        chosen = choose(checkpoint, root)
        assert names(chosen.source) == halves_of(root)[1]
    chosen = choose(checkpoint, "other")
    assert chosen.describe() == "24 of 24 images of other"
    (warning,) = chosen.notes
    assert warning.startswith("warning: the checkpoint does not say which images it was trained on")
    assert choose(checkpoint, "splits").notes == ()
    config = checkpoint.content["config"].replace("name: image_folder", "name: imagenet")
    of_imagenet = replace(checkpoint, content={"config": config})
    assert choose(of_imagenet, "other").notes == ()


def test_a_converted_file_without_configuration_is_like_a_foreign_one():
    checkpoint = trained_on("pets", without=["data", "config"])
    assert choose(checkpoint, "pets").describe() == "24 of 24 images of pets"


def test_samples_of_the_training_do_not_change_its_halves():
    checkpoint = trained_on("pets", train_samples=6, val_samples=3)
    assert len(choose(checkpoint, "pets").source) == HELD_OUT


def test_the_order_of_the_classes_does_not_change_the_images():
    checkpoint = trained_on("pets", class_order="natural")
    assert len(choose(checkpoint, "pets").source) == HELD_OUT
