import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rednet.data import UnreadableImage, read_image
from rednet.data.image_files import ImageFiles, images_by_class, join_names, list_images
from rednet.errors import InputError


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


def test_pillow_warnings_are_not_errors(tmp_path, monkeypatch):
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05broken"
    Image.new("RGB", (8, 6)).save(tmp_path / "exif.jpg", exif=exif)
    assert read_image(tmp_path / "exif.jpg").size == (8, 6)
    palette = Image.new("P", (8, 6))
    palette.save(tmp_path / "palette.png", transparency=bytes(range(256)))
    assert read_image(tmp_path / "palette.png").mode == "RGB"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    assert read_image(tmp_path / "exif.jpg").size == (8, 6)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(UnreadableImage, match="exceeds limit"):
        read_image(tmp_path / "exif.jpg")


def test_images_are_listed_sorted_at_any_depth_without_hidden_or_other_files(make_images):
    root = make_images("b.JPG", "a.png", "deep/er/c.JpEg", ".hidden/d.png", "._e.png")
    (Path(root) / "notes.txt").write_text("text")
    assert list_images(Path(root)) == ["a.png", "b.JPG", "deep/er/c.JpEg"]


def test_symlinked_folders_are_searched(make_images, tmp_path):
    make_images("elsewhere/cat/1.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    assert images_by_class(tmp_path / "root") == {"cat": ["cat/1.png"]}


def test_image_files_load_by_index_after_pickling(make_images):
    root = Path(make_images("cat/1.png", "dog/long name \xe9.png"))
    samples = [("cat/1.png", 0), ("dog/long name \xe9.png", 1)]
    files = pickle.loads(pickle.dumps(ImageFiles(root, ["cat", "dog"], samples)))
    assert (len(files), files.targets, files.class_names) == (2, [0, 1], ["cat", "dog"])
    assert [files.name_of(i) for i in (0, 1)] == [str(root / name) for name, _ in samples]
    assert files.load(1).size == (8, 6)


def test_missing_empty_and_classless_folders_are_named(make_images, tmp_path):
    with pytest.raises(InputError, match="nowhere cannot be read: No such file"):
        images_by_class(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is empty: expected"):
        images_by_class(tmp_path)
    make_images("loose.png")
    with pytest.raises(InputError, match="has no class folders: expected"):
        images_by_class(tmp_path)
    with pytest.raises(InputError, match=r"loose\.png cannot be read: Not a directory"):
        images_by_class(tmp_path / "loose.png")


def test_class_folders_without_images_are_all_named(make_images):
    root = Path(make_images("cat/1.png"))
    for name in ("bird", "dog"):
        (root / name).mkdir()
    with pytest.raises(InputError, match=r"without images in .*: bird, dog; add images"):
        images_by_class(root)


def test_long_lists_of_names_are_shortened():
    assert join_names([*"abcde"]) == "a, b, c, d, e"
    assert join_names([*"abcdefg"]) == "a, b, c, d, e and 2 more"
