"""The contact sheet of images with their predictions."""

import math

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image

from rednet.predictions.fonts import MISSING, find_font, replace_missing
from rednet.predictions.rows import ClassLabels, Row
from rednet.predictions.sheet import FRAME, LARGE_TILE, TILE, ContactSheet

LABELS = ClassLabels(["Katze", "\u732b", "$x$ " * 40, "\u041a\u043e\u0448\u043a\u0430"])
RED, BLUE = (255, 0, 0), (0, 0, 255)


def save(path, size, color):
    Image.new("RGB", size, color).save(path)
    return str(path)


def row(position, path):
    return Row(position, path, (0, 1, 2, 3), (0.5, 0.25, 0.2, 0.05))


def write(sheet, path, **options):
    assert sheet.write(path, "rednet50", options.pop("total", 3), upright=False, **options)
    with Image.open(path) as image:
        return np.asarray(image)


def test_images_keep_their_shape(tmp_path):
    sheet = ContactSheet(LABELS, 48, 3)
    sizes = {"wide.png": (400, 100), "tall.png": (10, 40), "one.png": (1, 1)}
    sheet.add([row(0, save(tmp_path / name, size, RED)) for name, size in sizes.items()])
    pixels = write(sheet, tmp_path / "sheet.png")
    assert pixels.shape[1] > 2 * LARGE_TILE
    is_red = (pixels == RED).all(2)
    expected = LARGE_TILE * (LARGE_TILE // 4) * 2 + LARGE_TILE**2
    assert is_red.sum() == pytest.approx(expected, rel=0.01)


def test_the_images_are_spread_over_all(tmp_path):
    path = save(tmp_path / "a.png", (30, 20), RED)
    for size, total in ((4, 10), (7, 7), (48, 1000), (5, 3)):
        sheet = ContactSheet(LABELS, size, total)
        sheet.add([row(position, path) for position in range(total)])
        positions = [row.position for row in sheet.rows]
        assert len(positions) == min(size, total)
        gaps = np.diff([*positions, total])
        assert positions[0] == 0 and max(gaps) - min(gaps) <= 1
    first = ContactSheet(LABELS, 3, None)
    first.add([row(position, path) for position in range(9)])
    assert [row.position for row in first.rows] == [0, 1, 2]


def test_many_images_fill_rows(tmp_path):
    path = save(tmp_path / "a.png", (30, 20), RED)
    sheet = ContactSheet(LABELS, 48, 48)
    sheet.add([row(position, path) for position in range(48)])
    pixels = write(sheet, tmp_path / "sheet.png", total=1000)
    frame = tuple(bytes.fromhex(FRAME[1:]))
    in_frames = (pixels == frame).all(2).any(0)
    assert in_frames.sum() == pytest.approx(8 * TILE, abs=8)
    assert (pixels[: 2 * 16] < 128).any()  # the title


def test_images_that_have_gone_or_no_predictions_are_left_out(tmp_path):
    sheet = ContactSheet(LABELS, 48, 3)
    sheet.add([row(0, "gone.png"), Row(1, "broken.png", reason="broken")])
    assert not sheet.write(tmp_path / "sheet.png", "rednet50", 1, upright=False)
    assert not (tmp_path / "sheet.png").exists()


def test_none_are_wanted(tmp_path):
    sheet = ContactSheet(LABELS, 0, 3)
    sheet.add([row(0, save(tmp_path / "a.png", (30, 20), RED))])
    assert not sheet.rows


@pytest.mark.parametrize("upright", [False, True])
def test_images_are_rotated_if_the_network_gets_them_so(upright, tmp_path):
    pixels = np.full((20, 40, 3), BLUE, np.uint8)
    pixels[:, :20] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    sheet = ContactSheet(LABELS, 48, 1)
    sheet.add([row(0, str(tmp_path / "a.png"))])
    sheet.write(tmp_path / "sheet.png", "rednet50", 1, upright=upright)
    with Image.open(tmp_path / "sheet.png") as image:
        is_red = (np.asarray(image) == RED).all(2)
    height, width = is_red.any(1).sum(), is_red.any(0).sum()
    assert (height, width) == (LARGE_TILE // 2, LARGE_TILE // 2)
    assert is_red[:, LARGE_TILE // 2 + 20 :].any() == upright


def test_a_font_for_every_script():
    own = find_font("Katze \u041a\u043e\u0448\u043a\u0430 \u03b3\u03ac\u03c4\u03b1", 12)
    assert own.path == findfont(FontProperties(family="DejaVu Sans"))
    only_in_stix = "\u2aff"
    assert "STIX" in find_font(only_in_stix, 12, bold=True).path
    in_no_font = "\U000e0fff"
    assert find_font(f"a{in_no_font}", 12) is None
    assert replace_missing(f"a{in_no_font}b") == f"a{MISSING}b"


def test_bars_are_as_long_as_the_probabilities(tmp_path):
    sheet = ContactSheet(LABELS, 48, 1)
    sheet.add([Row(0, save(tmp_path / "a.png", (30, 20), RED), (3, 2), (0.75, 0.25))])
    pixels = write(sheet, tmp_path / "sheet.png")
    for color, share in (("0072B2", 0.75), ("56B4E9", 0.25)):
        bar = (pixels == tuple(bytes.fromhex(color))).all(2)
        assert bar.any(0).sum() == math.floor(share * LARGE_TILE)


def test_large_images_are_left_out_by_the_limit_of_the_data(tmp_path):
    sheet = ContactSheet(LABELS, 48, 1)
    sheet.add([row(0, save(tmp_path / "a.png", (30, 20), RED))])
    assert not sheet.write(tmp_path / "s.png", "x", 1, upright=False, max_pixels=599)
    assert sheet.write(tmp_path / "s.png", "x", 1, upright=False, max_pixels=600)
