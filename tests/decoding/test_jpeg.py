"""Parts of JPEG files have the pixels that Pillow gives, or are refused."""

import random
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rednet.data import UnreadableImage, read_image
from rednet.decoding import decode_jpeg, jpeg, unavailable_reason
from rednet.ops import carried, compiler

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:4:0", "4:2:0", "4:1:1", "gray")


def encode(size, subsampling="4:2:0", **options):
    """A JPEG file of smooth colours and noise, (width, height) pixels."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    slopes = np.add.outer(np.arange(height) * 2, np.arange(width))[..., None] + [0, 50, 90]
    image = Image.fromarray(((slopes + noise) % 256).astype(np.uint8))
    if subsampling == "gray":
        image, subsampling = image.convert("L"), None
    wanted = "4:2:2" if subsampling == "4:4:0" else subsampling
    file = BytesIO()
    image.save(file, "JPEG", **({"subsampling": wanted} if wanted else {}), **options)
    content = file.getvalue()
    if subsampling == "4:4:0":  # the same blocks, the other way round
        content = content.replace(b"\x03\x01\x21\x00", b"\x03\x01\x12\x00")
    return content


def boxes(size, number, seed=0):
    """Parts of an image: all of it, its edges, and random ones."""
    width, height = size
    yield 0, 0, width, height
    yield width - 1, height - 1, 1, 1
    draw = random.Random(seed)
    for _ in range(number):
        left, top = draw.randrange(width), draw.randrange(height)
        yield left, top, draw.randint(1, width - left), draw.randint(1, height - top)


def crop(image, box):
    left, top, width, height = box
    return image.crop((left, top, left + width, top + height))


@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_a_part_has_the_pixels_of_the_whole(subsampling, restart):
    assert unavailable_reason() is None
    for size in ((96, 96),) if subsampling == "4:4:0" else ((97, 83), (17, 130), (5, 3)):
        content = encode(size, subsampling, restart_marker_blocks=restart)
        whole = Image.open(BytesIO(content)).convert("RGB")
        for box in boxes(size, 20):
            assert np.array_equal(decode_jpeg(content, size, box), crop(whole, box)), (size, box)


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("new_size", [(32, 32), (45, 7), (3, 80)])
def test_a_part_is_resized_as_by_pillow(name, new_size):
    size = (90, 140)
    content = encode(size)
    whole = Image.open(BytesIO(content))
    width, height = new_size
    for box in [*boxes(size, 12), (7, 3, 33, 130)]:  # the last one: columns first, in Pillow 13
        resized = crop(whole, box).resize(new_size, Image.Resampling[name.upper()])
        found = decode_jpeg(content, size, box, interpolation=name, new_size=new_size)
        assert np.array_equal(found, resized), box
        part = (width // 3, height // 4, width - width // 3, height // 2)
        found = decode_jpeg(content, size, box, interpolation=name, new_size=new_size, part=part)
        assert np.array_equal(found, crop(resized, part)), box


def test_what_pillow_must_decode_is_refused():
    size = (40, 30)
    content = encode(size)
    cmyk = BytesIO()
    Image.new("CMYK", size).save(cmyk, "JPEG")
    whole = (0, 0, *size)
    assert decode_jpeg(content, size, whole) is not None
    for other in (
        encode(size, progressive=True),
        cmyk.getvalue(),
        content[:-2],
        content[:-2] + b"\xff\xda\xff\xd9",
        content + b"\0",
        content[:2],
        b"",
        b"\x89PNG\r\n\x1a\n",
    ):
        assert decode_jpeg(other, size, whole) is None
    assert decode_jpeg(content, (41, 30), whole) is None
    for box in ((0, 0, 41, 30), (-1, 0, 5, 5), (0, 0, 0, 5), (39, 29, 1, 2)):
        assert decode_jpeg(content, size, box, new_size=(5, 5)) is None
    for name in ("lanczos", "nearest"):
        assert decode_jpeg(content, size, whole, interpolation=name, new_size=(5, 5)) is None


def damage(content, draw):
    """Cut a file, or change, insert or remove some bytes."""
    changed = bytearray(content)
    place = draw.randrange(2, len(changed))
    kind = draw.randrange(6)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + b"\xff\xd9"
    if kind == 2:
        changed[place:place] = bytes([0xFF, draw.randrange(256)])
    elif kind == 3:
        del changed[place : place + draw.randrange(1, 40)]
    else:
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(2, len(changed))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize(
    "files", [1000, pytest.param(50_000, marks=pytest.mark.nightly)], ids="{} files".format
)
def test_a_damaged_file_is_decoded_as_by_pillow_or_refused(files):
    draw = random.Random(files)
    originals = [
        encode((60, 75), subsampling, restart_marker_blocks=restart)
        for subsampling in ("4:4:4", "4:2:0")
        for restart in (0, 4)
    ]
    decoded = 0
    for _ in range(files):
        content = damage(draw.choice(originals), draw)
        try:
            header = Image.open(BytesIO(content))
        except Exception:
            continue
        if header.format != "JPEG" or header.mode not in ("RGB", "L") or max(header.size) > 500:
            continue
        box = list(boxes(header.size, 1, seed=decoded))[-1]
        found = decode_jpeg(content, header.size, box)
        if found is None:
            continue
        decoded += 1
        try:
            whole = read_image("image.jpg", content=content).convert("RGB")
        except UnreadableImage as error:
            pytest.fail(f"decoded although it is unreadable: {error}")
        assert np.array_equal(found, crop(whole, box))
    assert decoded > files / 10


@pytest.fixture
def fresh_decoder():
    jpeg._decoder.cache_clear()
    yield
    jpeg._decoder.cache_clear()


def test_without_a_compiler_pillow_decodes(monkeypatch, fresh_decoder):
    def fail(*_):
        raise compiler.BuildError("no C++ compiler found")

    monkeypatch.setattr(carried, "load", fail)
    assert unavailable_reason() == "no C++ compiler found"
    assert decode_jpeg(encode((8, 8)), (8, 8), (0, 0, 8, 8)) is None


def test_a_pillow_that_decodes_otherwise_is_noticed(monkeypatch, fresh_decoder):
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, _: resize(self, size, 0))
    assert unavailable_reason() == "it does not give the pixels of this version of Pillow"


def test_a_pillow_without_libjpeg_is_noticed(monkeypatch, fresh_decoder):
    monkeypatch.setattr(jpeg, "LIBJPEG_FUNCTIONS", ("no_such_function",))
    assert unavailable_reason().startswith("Pillow has no libjpeg-turbo that others can use: ")
