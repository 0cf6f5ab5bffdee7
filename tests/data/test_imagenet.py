from pathlib import Path

import pytest
from timm.data import ImageNetInfo

from rednet.data import imagenet_labels, imagenet_synsets, open_imagenet
from rednet.errors import InputError

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "imagenet-sample"


def test_synsets_are_in_standard_order():
    assert list(imagenet_synsets()) == ImageNetInfo("imagenet-1k").label_names()
    assert imagenet_labels()[0] == "tench"
    assert len(imagenet_labels()) == 1000


def test_class_indices_are_standard_even_if_classes_are_missing(make_images):
    root = make_images(
        "train/n15075141/a.JPEG",
        "train/n01443537/b.jpg",
        "val/n15075141/c.png",
        "val/n02071294/d.JPEG",
    )
    splits = open_imagenet(root)
    assert splits.train.targets == [1, 999]
    assert splits.val.targets == [148, 999]
    assert splits.train.class_names == splits.val.class_names == list(imagenet_synsets())
    assert splits.val.name_of(1) == f"{root}/val/n15075141/c.png"
    assert splits.val.load(0).mode == "RGB"


def test_flat_validation_folder_is_labelled_by_file_name(make_images):
    root = make_images("val/ILSVRC2012_val_00015416.JPEG", "val/ILSVRC2012_val_00000001.jpg")
    splits = open_imagenet(root, train=False)
    assert splits.train is None
    assert splits.val.targets == [65, 13]
    assert splits.val.name_of(0).endswith("00000001.jpg")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "has no folder train: expected .*/train/<synset>/"),
        (("train/n01440764/a.png",), "has no folder val: .*val/<synset>.* or .*ILSVRC2012_val_"),
        (("val/n01440764/a.png",), "has no folder train"),
        (
            ("train/cat/a.png", "train/n01440764/b.png", "val/n01440764/b.png"),
            "1000 ImageNet synsets .*: cat; data=image_folder reads other classes$",
        ),
        (("train/n01440764/a.png", "val/n99999999/b.png"), "synsets .*: n99999999; data=im"),
        (("train/n01440764/a.png", "val/cat.png"), "cat.png is not among the 50,000"),
        (
            ("train/n01440764/a.png", "val/ILSVRC2012_val_00050001.JPEG"),
            "ILSVRC2012_val_00050001.JPEG is not among the 50,000",
        ),
        (
            ("train/n01440764/a.png", "val/n01440764/a.png", "val/ILSVRC2012_val_00000001.JPEG"),
            "both class folders and loose images",
        ),
    ],
)
def test_wrong_folders_are_named(make_images, files, message):
    with pytest.raises(InputError, match=message):
        open_imagenet(make_images(*files))


def test_the_folders_of_the_competition(make_images):
    root = make_images(
        "ILSVRC/Data/CLS-LOC/train/n15075141/a.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG",
        "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG",
    )
    (Path(root) / "ILSVRC" / "Annotations").mkdir()
    splits = open_imagenet(root)
    folder = f"{root}/ILSVRC/Data/CLS-LOC"
    assert splits.origins == {"train": f"{folder}/train", "val": f"{folder}/val"}
    assert splits.notes[-1] == "warning: no validation images of 1 class: n15075141"
    assert splits.unused == {"test": f"{folder}/test has no folders of these classes"}
    assert splits.not_read.describe() == (
        "not read: 1 folder beside those that are read (Annotations)"
    )


def test_test_images_in_folders_are_a_third_split(make_images):
    names = [f"{split}/n15075141/a.JPEG" for split in ("Training", "Validation", "Test")]
    splits = open_imagenet(make_images(*names), train=False)
    assert (splits.train, splits.test.targets) == (None, [999])


def test_archives_are_to_be_unpacked(tmp_path):
    (tmp_path / "ILSVRC2012_img_val.tar").touch()
    with pytest.raises(InputError, match=r"no folder train: .*; unpack archives$"):
        open_imagenet(str(tmp_path))


def test_empty_and_missing_folders_are_named(make_images, tmp_path):
    with pytest.raises(
        InputError, match="nowhere does not exist: expected a folder with train/ and val/"
    ):
        open_imagenet(str(tmp_path / "nowhere"))
    root = Path(make_images("train/n01440764/a.png"))
    (root / "val").mkdir()
    with pytest.raises(InputError, match="val is empty"):
        open_imagenet(str(root))
    (root / "val" / "n01440764").mkdir()
    with pytest.raises(InputError, match=r"class folders without images in .*val: n01440764 "):
        open_imagenet(str(root))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the ImageNet sample next to the repository")
def test_sample_of_the_real_images():
    val = open_imagenet(str(SAMPLE), train=False).val
    assert len(val) == len(set(val.targets)) == 250
    assert all(val.class_names[t] in val.name_of(i) for i, t in enumerate(val.targets))
    assert min(val.load(0).size) > 100
