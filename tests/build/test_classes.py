"""Which output stands for which class of the data."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rednet.build.classes import match_classes
from rednet.config import compose
from rednet.data import imagenet_synsets
from rednet.data.image_files import ImageFiles
from rednet.errors import InputError
from rednet.weights import Checkpoint

NUMBERED = [str(number) for number in sorted(range(1, 13), key=str)]  # 1, 10, 11, 12, 2, ...


@pytest.fixture(scope="module")
def data():
    return compose("evaluate", ["data=image_folder", "data.root=images"]).data


def checkpoint_of(names=None, outputs=None, kind="timm"):
    return Checkpoint(
        Path("best.pt"),
        kind,
        {},
        {},
        num_classes=outputs or (names and len(names)),
        class_names=names,
    )


def source_of(names, without_images=()):
    files = [(f"{name}/0.png", i) for i, name in enumerate(names) if name not in without_images]
    return ImageFiles(Path("images"), list(names), files)


def outputs(matched):
    """Return the output of each class with images."""
    source, _ = matched
    files = (Path(source.name_of(index)).parent.name for index in range(len(source)))
    return dict(zip(files, source.targets, strict=True))


def test_the_names_of_the_file_decide(data):
    source, checkpoint = source_of(["ant", "bee", "cat"]), checkpoint_of(["cat", "ant", "bee"])
    matched = match_classes(source, checkpoint, data)
    assert outputs(matched) == {"ant": 1, "bee": 2, "cat": 0}
    assert matched[0].class_names == ["cat", "ant", "bee"]
    assert matched[1] is None
    with pytest.raises(
        InputError, match=r"^data\.class_order: has no effect, the outputs of check"
    ):
        match_classes(source, checkpoint, replace(data, class_order="text"))


def test_names_as_file_systems_write_them(data):
    composed, decomposed = "M\u00fcnchen", "Mu\u0308nchen"
    checkpoint = checkpoint_of(["\udcff", decomposed, "bar"])
    matched = match_classes(source_of(["bar", composed, r"\xff"]), checkpoint, data)
    assert outputs(matched) == {"bar": 2, composed: 1, r"\xff": 0}


def test_some_of_the_classes(data):
    source, line = match_classes(
        source_of(["ant", "cat"]), checkpoint_of(["ant", "bee", "cat"]), data
    )
    assert source.targets == [0, 2]
    assert line == "the data has 2 of the checkpoint's 3 classes: ant, cat"


def test_a_class_without_images_counts_as_missing(data):
    source = source_of(["ant", "bee", "new"], without_images=["new", "bee"])
    matched = match_classes(source, checkpoint_of(["ant", "bee"]), data)
    assert outputs(matched) == {"ant": 0}
    assert matched[1] == "the data has 1 of the checkpoint's 2 classes: ant"


@pytest.mark.parametrize(
    ("names", "unknown"),
    [(["ant", "dog"], "class dog"), (["Ant", "ant", "dog"], "classes Ant, dog")],
)
def test_unknown_classes_are_refused(names, unknown, data):
    message = rf"^checkpoint=best\.pt has no {unknown}; it has 3 classes: ant, bee, cat$"
    with pytest.raises(InputError, match=message):
        match_classes(source_of(names), checkpoint_of(["ant", "bee", "cat"]), data)


def test_a_name_that_stands_for_two_outputs(data):
    with pytest.raises(InputError, match=r"^checkpoint=best\.pt has more than one class crane$"):
        match_classes(
            source_of(["crane", "tench"]), checkpoint_of(["tench", "crane", "crane"]), data
        )


def test_the_order_of_a_file_without_names_is_asked_for_where_it_matters(data):
    source = source_of(NUMBERED)
    with pytest.raises(InputError) as error:
        match_classes(source, checkpoint_of(outputs=12), data)
    assert str(error.value) == (
        "checkpoint=best.pt has no class names, and the order of its outputs is unknown: give "
        "data.class_order=text if output 1 is 10 (torchvision's order), "
        "data.class_order=natural if it is 2 (timm's)"
    )
    text = match_classes(source, checkpoint_of(outputs=12), replace(data, class_order="text"))
    assert outputs(text) == {name: index for index, name in enumerate(sorted(NUMBERED))}
    natural = match_classes(source, checkpoint_of(outputs=12), replace(data, class_order="natural"))
    assert outputs(natural) == {name: int(name) - 1 for name in NUMBERED}
    assert natural[1] == (
        "the checkpoint has no class names: its outputs are taken to be the folders in natural "
        "order"
    )


@pytest.mark.parametrize("kind", ["timm", "state-dict", "openmmlab", "rednet-safetensors"])
def test_nothing_is_asked_where_the_orders_agree(kind, data):
    matched = match_classes(source_of(["ant", "bee"]), checkpoint_of(outputs=2, kind=kind), data)
    assert outputs(matched) == {"ant": 0, "bee": 1}
    assert matched[1].endswith("its outputs are taken to be the folders in text order")


def test_networks_for_other_classes_are_left_to_the_loader(data):
    source = source_of(NUMBERED)
    assert match_classes(source, checkpoint_of(outputs=7), data) == (source, None)


def test_some_folders_of_imagenet(data):
    synsets = imagenet_synsets()
    matched = match_classes(source_of(synsets[400:650]), checkpoint_of(outputs=1000), data)
    assert outputs(matched) == {synsets[index]: index for index in range(400, 650)}
    assert matched[1].startswith("the data has 250 of the checkpoint's 1000 classes: n02")


def test_imagenet_has_one_order(data):
    source = source_of(imagenet_synsets())
    imagenet = replace(data, name="imagenet")
    assert match_classes(source, checkpoint_of(outputs=1000), imagenet) == (source, None)


def test_the_outputs_of_a_timm_model_are_counted(data):
    checkpoint = replace(
        checkpoint_of(),
        state_dict={"fc.weight": torch.zeros(1000, 8)},
        model={"name": "test_resnet", "options": {}},
    )
    synsets = imagenet_synsets()
    assert outputs(match_classes(source_of(synsets[7:9]), checkpoint, data)) == {
        synsets[7]: 7,
        synsets[8]: 8,
    }
