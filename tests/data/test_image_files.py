import io
import os
import pickle
import socket
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rednet.data import UnreadableImage, read_image
from rednet.data.image_files import ImageFiles


@pytest.mark.parametrize(
    ("mode", "suffix", "loaded"),
    [
        ("L", "png", "L"),
        ("RGB", "jpg", "RGB"),
        ("RGBA", "png", "RGB"),
        ("CMYK", "jpg", "RGB"),
        ("P", "gif", "RGB"),
        ("1", "png", "RGB"),
        ("LA", "png", "RGB"),
    ],
)
def test_every_mode_is_converted_to_gray_or_rgb(tmp_path, mode, suffix, loaded):
    path = tmp_path / f"image.{suffix}"
    Image.new("RGB", (8, 6), (200, 40, 40)).convert(mode).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == (loaded, (8, 6))


def test_16_bit_gray_is_scaled_to_8_bits(tmp_path):
    values = np.array([[0, 257, 256 * 128, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png")).tolist() == [[0, 1, 127, 255]]


def test_pixels_without_a_fixed_range_are_unreadable(tmp_path):
    Image.new("F", (8, 6)).save(tmp_path / "float.tif")
    with pytest.raises(UnreadableImage, match="no fixed range"):
        read_image(tmp_path / "float.tif")


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "rotated.jpg", exif=exif)
    assert read_image(tmp_path / "rotated.jpg").size == (8, 6)


def jpeg_bytes():
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [jpeg_bytes()[:1500], jpeg_bytes()[:30], b"", b"<html>not found</html>"],
    ids=["truncated", "header only", "empty", "text"],
)
def test_a_damaged_file_is_unreadable_with_name_and_reason(tmp_path, content):
    path = tmp_path / "damaged.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage) as caught:
        read_image(path)
    assert caught.value.name == str(path)
    assert caught.value.reason
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        read_image(tmp_path / "missing.jpg")


def test_pillow_warnings_are_not_errors(tmp_path):
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05broken"
    Image.new("RGB", (8, 6)).save(tmp_path / "exif.jpg", exif=exif)
    assert read_image(tmp_path / "exif.jpg").size == (8, 6)
    palette = Image.new("P", (8, 6))
    palette.save(tmp_path / "palette.png", transparency=bytes(range(256)))
    assert read_image(tmp_path / "palette.png").mode == "RGB"


def test_image_files_load_by_index_after_pickling(make_images):
    root = Path(make_images("cat/1.png", "dog/long name \xe9.png"))
    samples = [("cat/1.png", 0), ("dog/long name \xe9.png", 1)]
    files = pickle.loads(pickle.dumps(ImageFiles(root, ["cat", "dog"], samples)))
    assert (len(files), files.targets, files.class_names) == (2, [0, 1], ["cat", "dog"])
    assert [files.name_of(i) for i in (0, 1)] == [str(root / name) for name, _ in samples]
    assert files.load(1).size == (8, 6)


def test_names_that_no_terminal_can_take_are_escaped(tmp_path):
    names = [os.fsdecode(b"x\xe9.png"), "\x1b[31mred.png", "two\nlines.png"]
    for name in names:
        Image.new("L", (8, 6)).save(tmp_path / name)
    files = ImageFiles(tmp_path, ["a", "b"], [(name, 0) for name in names])
    assert [files.load(i).size for i in range(3)] == [(8, 6)] * 3
    shown = [r"x\xe9.png", r"\x1b[31mred.png", r"two\nlines.png"]
    assert [files.name_of(i) for i in range(3)] == [f"{tmp_path}/{name}" for name in shown]
    (tmp_path / names[1]).write_bytes(b"no image")
    with pytest.raises(UnreadableImage) as caught:
        files.load(1)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_never_opened(kind, tmp_path, monkeypatch):
    """It would never answer, or opening it would have an effect."""
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with closing(socket.socket(socket.AF_UNIX)) as server:
        {
            "pipe": os.mkfifo,
            "socket": server.bind,
            "device": lambda path: os.symlink("/dev/zero", path),
            "folder": os.mkdir,
        }[kind]("image.jpg")
        with pytest.raises(UnreadableImage, match=f"it is a {kind}, not a file"):
            read_image("image.jpg")


def save_gif(path):
    """A screen of one pixel with a frame of many."""
    Image.new("P", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    frame = content.index(b",") + 5
    content[frame : frame + 4] = struct.pack("<HH", 3000, 2000)
    path.write_bytes(content)


BOMBS = {
    "png": lambda path: Image.new("1", (3000, 2000)).save(path),
    "jpg": lambda path: Image.new("L", (3000, 2000)).save(path),
    "webp": lambda path: Image.new("RGB", (3000, 2000)).save(path),
    "tif": lambda path: Image.new("1", (3000, 2000)).save(path, compression="group4"),
    "jp2": lambda path: Image.new("L", (3000, 2000)).save(path),
    "gif": save_gif,
}


@pytest.mark.parametrize("suffix", BOMBS)
def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(suffix, tmp_path):
    path = tmp_path / f"bomb.{suffix}"
    BOMBS[suffix](path)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadableImage, match=r"6000000 pixels, more than data.max_pixels=5000000"):
        read_image(path, 5_000_000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_can_be_above_that_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("L", (8, 6)).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", 48).size == (8, 6)
    with pytest.raises(UnreadableImage, match=r"48 pixels, more than data.max_pixels=47"):
        read_image(tmp_path / "image.png", 47)


def test_a_file_that_is_too_large_for_any_image_is_not_read(tmp_path):
    """Some formats are read into memory as a whole."""
    with open(tmp_path / "huge.webp", "wb") as file:
        file.write(b"RIFF\0\0\0\0WEBPVP8 ")
        file.truncate(2**40)
    with pytest.raises(UnreadableImage, match=f"the file has {2**40} bytes, too many"):
        read_image(tmp_path / "huge.webp")
    with pytest.raises(OSError, match="too many"):
        ImageFiles(tmp_path, ["a"], [("huge.webp", 0)]).read_bytes(0)


def test_no_memory_is_not_the_fault_of_the_image(tmp_path, monkeypatch):
    Image.new("L", (8, 6)).save(tmp_path / "image.png")

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Image.core, "new", fail)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "image.png")
