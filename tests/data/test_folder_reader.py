import os

import pytest

from rednet.data.folder_reader import FolderReader
from rednet.data.not_read import MAX_LISTED, NotRead
from rednet.errors import InputError


def read(root, *names):
    reader = FolderReader()
    listings = reader.list_images([root / name for name in names])
    return [listing.images for listing in listings], reader.not_read


def test_images_at_any_depth_with_any_suffix(make_files):
    names = ["a.avif", "a.jfif", "a.jpe", "a.JPG", "a.jPeG", "b.png", "b.webp", "deep/er/c.tiff"]
    root = make_files(*[f"set/cat/{name}" for name in names])
    ((images,), not_read) = read(root, "set")
    assert images == {"cat": sorted(f"cat/{name}" for name in names)}
    assert not not_read


def test_all_that_is_not_read_is_counted_and_listed(make_files):
    root = make_files(
        *("set/cat/1.jpg", "set/cat/._1.jpg", "set/cat/.git/a.jpg", "set/cat/Thumbs.db"),
        *("set/cat/__MACOSX/1.jpg", "set/cat/1.heic", "set/cat/2.HEIC", "set/cat/1", "set/a.zip"),
        *("set/cat/gone.jpg -> x", "set/cat/self.jpg -> self.jpg", "set/bird -> y"),
    )
    os.mkfifo(root / "set/cat/pipe.jpg")
    ((images,), not_read) = read(root, "set")
    assert images == {"cat": ["cat/1.jpg"]}
    assert not_read.describe() == (
        "warning: not read: 4 files without the suffix of an image (2 .heic, 1 .zip, 1 no suffix), "
        "4 items hidden or left by a system, 3 links to nothing (bird, gone.jpg, self.jpg), "
        "1 item neither file nor folder"
    )
    assert len(not_read.records()) == 12
    assert {"reason", "path", "detail"} == set(not_read.records()[0])


def test_a_folder_that_cannot_be_listed_is_a_warning(make_files, monkeypatch):
    root = make_files("set/cat/1.jpg")
    monkeypatch.chdir(root / "set/cat")
    deep = "x" * 250
    for _ in range(17):  # a path that is longer than a path can be
        os.mkdir(deep)
        os.chdir(deep)
    ((images,), not_read) = read(root, "set")
    monkeypatch.undo()
    assert images == {"cat": ["cat/1.jpg"]}
    assert not_read.describe().startswith("warning: not read: 1 folder that cannot be listed (xxx")
    assert not_read.items[0].detail == "File name too long"


def test_links_to_folders_around_the_data_are_not_followed(make_files):
    root = make_files(
        *("train/cat/1.jpg", "val/cat/2.jpg"),
        *("train/cat/up -> ../..", "train/loop -> .", "val/top -> /"),
    )
    (train, val), not_read = read(root, "train", "val")
    assert (train, val) == ({"cat": ["cat/1.jpg"]}, {"cat": ["cat/2.jpg"]})
    assert not_read.describe().endswith(
        "3 links to a folder that is read elsewhere (loop, top, up)"
    )


def test_a_link_to_folders_around_holds_no_image(make_files):
    root = make_files("1.jpg", "set/notes/up -> ../..", "set/cat/2.jpg", "set/away -> ../set/cat")
    assert list(FolderReader().folders_with_images(root / "set")) == ["away", "cat"]


@pytest.mark.parametrize("link", ["animal", "zoo"])
def test_a_folder_takes_precedence_over_links_to_it(make_files, link):
    root = make_files(
        "set/cat/1.jpg", "set/dog/2.jpg", f"set/{link} -> cat", "set/dog/in -> ../cat"
    )
    ((images,), not_read) = read(root, "set")
    assert images == {"cat": ["cat/1.jpg"], "dog": ["dog/2.jpg"]}
    assert not_read.counts.total() == 2


def test_an_image_of_one_split_is_not_in_another(make_files):
    root = make_files("a/cat/1.jpg", "a/dog/2.jpg", "b/cat -> ../a/cat", "b/dog/3.jpg")
    for names in (("a", "b"), ("b", "a")):
        listings, _ = read(root, *names)
        found = dict(zip(names, listings, strict=True))
        assert found == {
            "a": {"cat": ["cat/1.jpg"], "dog": ["dog/2.jpg"]},
            "b": {"dog": ["dog/3.jpg"]},
        }


def test_links_to_other_places_are_followed_once(make_files):
    root = make_files(
        *("store/cats/1.jpg", "store/dogs/2.jpg", "store/dogs/back -> .."),
        *("set/cat -> ../store/cats", "set/cat2 -> ../store/cats", "set/dog -> ../store/dogs"),
        "set/bird/3.jpg -> ../../store/cats/1.jpg",
    )
    ((images,), not_read) = read(root, "set")
    assert images == {"bird": ["bird/3.jpg"], "cat": ["cat/1.jpg"], "dog": ["dog/2.jpg"]}
    passed = {os.path.relpath(item.path, root / "set") for item in not_read.items}
    assert passed == {"cat2", "dog/back/cats", "dog/back/dogs"}


def test_images_that_links_put_into_several_splits_or_classes_are_a_warning(make_files):
    root = make_files(
        *("all/1.jpg", "all/2.jpg", "all/3.jpg", "train/dog/5.jpg", "train/cat/4.jpg"),
        *("train/cat/1.jpg -> ../../all/1.jpg", "val/cat/1.jpg -> ../../all/1.jpg"),
        *("train/cat/2.jpg -> ../../all/2.jpg", "train/cat/again.jpg -> ../../all/2.jpg"),
        *("val/cat/3.jpg -> ../../all/3.jpg", "val/dog/9.jpg -> ../../train/dog/5.jpg"),
        "train/cat/5.jpg -> ../dog/5.jpg",
    )
    reader = FolderReader()
    reader.list_images([root / "train", root / "val"])
    assert reader.notes == [
        f"warning: through links, 2 images can be found in several splits, such as {root}/val/"
        "cat/1.jpg",
        f"warning: through links, 1 image can be found in several classes, such as {root}/val/"
        "dog/9.jpg",
    ]


def test_names_that_are_no_utf_8(make_files):
    name = os.fsdecode(b"x\xe9")
    root = make_files(f"set/{name}/{name}.jpg", f"set/{name}/{name}.txt")
    ((images,), not_read) = read(root, "set")
    assert images == {name: [f"{name}/{name}.jpg"]}
    assert not_read.records()[0]["path"] == rf"{root}/set/x\xe9/x\xe9.txt"


def test_missing_folders_and_files_are_named(make_files, tmp_path):
    with pytest.raises(InputError, match="nowhere cannot be read: No such file"):
        read(tmp_path, "nowhere")
    make_files("set.tar")
    with pytest.raises(InputError, match=r"set\.tar is a file: expected a folder; unpack"):
        read(tmp_path, "set.tar")


def test_a_million_items_are_counted_and_not_kept():
    not_read = NotRead()
    for number in range(MAX_LISTED + 2):
        not_read.add_by_suffix(f"{number}.txt")
    assert not_read.suffixes == {".txt": MAX_LISTED + 2}
    assert len(not_read.records()) == MAX_LISTED + 1
    assert not_read.records()[-1]["path"] == "2 more"
