"""Images named by files, folders, patterns and stdin."""

import io
import os
import sys
from collections import Counter

import pytest

from rednet.data.image_paths import count_images, find_images, split_names
from rednet.data.not_read import NotRead
from rednet.errors import InputError


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/er/c.png", "deep/d.gif"):
        touch(f"photos/{name}")


def touch(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass


def found(*names):
    return list(find_images(names, NotRead()))


ALL = ["photos/a.JPG", "photos/b.png", "photos/deep/d.gif", "photos/deep/er/c.png"]


@pytest.mark.parametrize("name", ["photos", "photos/", "./photos"])
def test_a_folder_stands_for_its_images_at_any_depth(name):
    assert [os.path.normpath(path) for path in found(name)] == ALL


def test_paths_begin_as_they_were_named(monkeypatch, tmp_path):
    assert found(str(tmp_path / "photos")) == [str(tmp_path / path) for path in ALL]
    monkeypatch.chdir("photos")
    assert found(".") == [path.removeprefix("photos/") for path in ALL]
    assert found("..", "a.JPG") == [f"../{path}" for path in ALL] + ["a.JPG"]


def test_a_file_stands_for_itself_whatever_its_name():
    for name in ("[1].png", "what?.jpg", "*.png", "a,b.png", "new\nline.png", "data"):
        touch(f"odd/{name}")
        assert found(f"odd/{name}") == [f"odd/{name}"]
    assert found("photos/notes.txt", "photos/b.png", "photos/b.png") == [
        *("photos/notes.txt", "photos/b.png", "photos/b.png")
    ]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("photos/*.png", ["photos/b.png"]),
        ("photos/*", ["photos/a.JPG", "photos/b.png", "photos/deep/d.gif", "photos/deep/er/c.png"]),
        ("photos/**", ALL),
        ("photos/**/*.png", ["photos/b.png", "photos/deep/er/c.png"]),
        ("photos/[!a].p?g", ["photos/b.png"]),
        ("pho*/deep", ["photos/deep/d.gif", "photos/deep/er/c.png"]),
    ],
)
def test_a_pattern_stands_for_what_it_matches(pattern, paths):
    not_read = NotRead()
    assert sorted(find_images([pattern], not_read)) == paths
    assert not_read.counts.total() <= 2  # notes.txt and the hidden file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.png", "images=nothing.png: no such file or folder"),
        ("photos/*.tif", "images=photos/*.tif: matches no file or folder"),
        ("pho[tos]/*", "images=pho[tos]/*: matches no file or folder; write [[] for a bracket"),
        ("photos/*.txt", "images=photos/*.txt: has no images (.apng, "),
        ("empty", "images=empty: has no images (.apng, "),
        ("two\nlines", r"images=two\nlines: no such file"),
    ],
)
def test_a_name_that_stands_for_no_image(name, message):
    os.mkdir("empty")
    with pytest.raises(InputError) as caught:
        count_images(["photos", name], NotRead())
    assert str(caught.value).startswith(message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed():
    os.chmod("photos", 0)
    with pytest.raises(InputError, match="images=photos: cannot be listed: Permission denied"):
        found("photos")
    os.chmod("photos", 0o700)


def test_links_are_followed_once():
    os.symlink("../..", "photos/deep/loop")
    os.symlink("deep", "photos/0-link")  # read where it really is
    os.symlink("b.png", "photos/link.png")
    touch("elsewhere/e.png")
    os.symlink("../elsewhere", "photos/1-link")
    os.symlink("missing", "photos/gone.png")
    not_read = NotRead()
    assert list(find_images(["photos"], not_read)) == [
        *ALL[:2],
        "photos/link.png",
        *ALL[2:],
        "photos/1-link/e.png",
    ]
    assert not_read.counts["link to nothing"] == 1
    assert not_read.counts["link to a folder that is read elsewhere"] == 2
    os.symlink("photos", "link")
    assert len(found("link")) == 6


def test_images_are_counted_and_what_is_passed_over():
    not_read = NotRead()
    assert count_images(["photos", "photos/a.JPG", "photos/deep"], not_read) == 7
    assert not_read.suffixes == Counter({".txt": 1})
    assert count_images(["photos", "-"], NotRead()) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"", []),
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"a.png\r\n\r\nb.png", ["a.png", "b.png"]),
        (b"two\nlines.png\0b.png\0", ["two\nlines.png", "b.png"]),
        (b"x\xe9.png\n", [os.fsdecode(b"x\xe9.png")]),
        (b"a" * 70_000 + b"\nb\n" * 50_000, ["a" * 70_000, *["b"] * 50_000]),
    ],
)
def test_names_in_a_stream(text, names):
    assert list(split_names(io.BytesIO(text))) == names


def test_stdin_lists_files_and_folders(monkeypatch):
    text = b"photos/deep\nmissing.png\nphotos/notes.txt\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert found("-", "photos/b.png") == [
        *("photos/deep/d.gif", "photos/deep/er/c.png", "missing.png", "photos/notes.txt"),
        "photos/b.png",
    ]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="there is no stdin"):
        found("-")
