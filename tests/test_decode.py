"""Decoding against Pillow's own, of images made here; damage is named, and nothing huge is decoded."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cnnjax.data import jpeg
from cnnjax.data.crop_boxes import fitting_box, random_box, scaled_box
from cnnjax.data.decode import decode, decode_crop, dimensions
from cnnjax.data.fit_to_size import RandomScaleFit
from cnnjax.data.resize import blur, resize, resize_exactly
from cnnjax.errors import ConfigError, DataError

REAL = Path(__file__).parents[2] / "shared" / "data" / "imagenet_mini" / "ILSVRC2012_img_train.tar"


def photograph(height=90, width=120, seed=0, channels=3) -> np.ndarray:
    """Smooth colours with an edge and a little noise: uint8 [height, width, channels]."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    phases = generator.uniform(0, 6, channels)
    image = np.stack([127 + 90 * np.sin(5 * x + phase) * np.cos(4 * y + phase) for phase in phases], axis=-1)
    image[height // 3 : height // 2, width // 4 : width // 2] += 30
    return np.clip(image + generator.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind="JPEG", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reference(data: bytes, mode="RGB") -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image = image.convert("RGBA") if image.mode == "P" else image
    array = np.asarray(image.convert(mode))
    return array.reshape(*array.shape[:2], -1)


RGB = photograph()
PICTURE = Image.fromarray(RGB)
EXACT = {
    "jpeg baseline 4:2:0": encoded(RGB),
    "jpeg 4:4:4": encoded(RGB, subsampling=0, quality=95),
    "jpeg 4:2:2": encoded(RGB, subsampling=1),
    "jpeg progressive": encoded(RGB, progressive=True),
    "jpeg restart markers": encoded(RGB, restart_marker_rows=1),
    "jpeg grey": encoded(PICTURE.convert("L")),
    "jpeg with a comment": encoded(RGB, comment=b"\xff\xc0 not a frame"),
    "png": encoded(RGB, "PNG"),
    "png grey": encoded(PICTURE.convert("L"), "PNG"),
    "png palette": encoded(PICTURE.quantize(16), "PNG"),
    "png palette with transparency": encoded(PICTURE.quantize(16), "PNG", transparency=b"\0\x80\xff"),
    "png bilevel": encoded(PICTURE.convert("1"), "PNG"),
    "png rgba": encoded(photograph(channels=4), "PNG"),
    "png grey and alpha": encoded(PICTURE.convert("LA"), "PNG"),
    "webp lossless": encoded(RGB, "WEBP", lossless=True),
    "webp lossy": encoded(RGB, "WEBP"),
    "webp rgba": encoded(photograph(channels=4), "WEBP"),
    "bmp": encoded(RGB, "BMP"),
    "gif": encoded(PICTURE.quantize(64), "GIF"),
    "gif with transparency": encoded(PICTURE.quantize(16), "GIF", transparency=3),
    "tiff": encoded(RGB, "TIFF"),
    "tiff lzw": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "tiff grey": encoded(PICTURE.convert("L"), "TIFF"),
    "tiff palette": encoded(PICTURE.quantize(16), "TIFF"),
    "tiff bilevel": encoded(PICTURE.convert("1"), "TIFF", compression="group4"),
    "tiff rgba": encoded(photograph(channels=4), "TIFF"),
    "tiff cmyk": encoded(PICTURE.convert("CMYK"), "TIFF"),
    "ppm": encoded(RGB, "PPM"),
    "pgm": encoded(PICTURE.convert("L"), "PPM"),
    "one pixel": encoded(RGB[:1, :1]),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_format_is_decoded_as_pillow_does(name):
    data = EXACT[name]
    expected = reference(data)
    image = decode(data)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)
    assert dimensions(data) == expected.shape[:2]


@pytest.mark.parametrize("name", EXACT)
def test_grey_is_the_luma(name):
    data = EXACT[name]
    image = decode(data, channels=1)
    assert image.shape == (*reference(data).shape[:2], 1)
    # A JPEG stores the luma; Pillow computes it again from rounded and clipped colours.
    difference = np.abs(image.astype(int) - reference(data, "L"))
    assert difference.max() <= (3 if name.startswith("jpeg") else 0)


@pytest.mark.parametrize("ycck", [False, True])
def test_cmyk_is_close_to_pillows(ycck):
    data = encoded(PICTURE.convert("CMYK"), subsampling=0, quality=95)
    if ycck:
        # Pillow writes no YCCK; these bytes read as if it were are another image, but the same for both.
        at = data.index(b"Adobe") + 11
        data = data[:at] + b"\2" + data[at + 1 :]
    # Both multiply each ink by what the black one leaves, and round differently.
    assert np.abs(decode(data).astype(int) - reference(data)).max() <= 1


def test_sixteen_bits_keep_their_upper_eight():
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    np.testing.assert_array_equal(decode(encoded(deep, "PNG"), channels=1)[..., 0], deep >> 8)
    np.testing.assert_array_equal(decode(encoded(deep, "PNG"))[..., 2], deep >> 8)


def tiff(values: np.ndarray, *pages: np.ndarray, order="<", white=1, signed=False, purpose=0) -> bytes:
    """A TIFF 6.0 of grey strips, written by hand. purpose: NewSubfileType of the pages after the first."""
    file = io.BytesIO((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for number, page in enumerate((values, *pages)):
        strip = page.astype(page.dtype.newbyteorder(order)).tobytes()
        at = file.seek(0, io.SEEK_END)
        file.write(strip)
        height, width = page.shape
        bits = 8 * page.dtype.itemsize
        tags = {254: purpose * (number > 0), 256: width, 257: height, 258: bits, 259: 1, 262: white, 273: at, 277: 1}
        tags |= {278: height, 279: len(strip), 339: 2 if signed else 1}
        here = file.tell()
        file.seek(link)
        file.write(struct.pack(f"{order}I", here))
        file.seek(here)
        entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
        file.write(struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4))
        link = file.tell() - 4
    return file.getvalue()


DEEP = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16


@pytest.mark.parametrize("order", "<>")
def test_sixteen_bit_tiffs_keep_their_upper_eight(order):
    for data in (tiff(DEEP, order=order), encoded(DEEP, "TIFF", compression="tiff_lzw")):
        np.testing.assert_array_equal(decode(data, channels=1)[..., 0], DEEP >> 8)
        np.testing.assert_array_equal(decode(data)[..., 2], DEEP >> 8)
        assert dimensions(data) == (64, 64)


def test_sixteen_bits_of_each_colour_keep_their_upper_eight():
    deep = photograph().astype(np.uint16) * 257
    deep[..., 1] -= deep[..., 1] // 300
    for kind in (".png", ".tiff"):
        data = cv2.imencode(kind, deep[..., ::-1])[1].tobytes()
        np.testing.assert_array_equal(decode(data), deep >> 8)
    grey = b"P5 64 64 65535\n" + DEEP.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(grey, channels=1)[..., 0], DEEP >> 8)


def test_zero_is_white_where_a_tiff_says_so():
    for values, shift in ((DEEP, 8), ((DEEP >> 8).astype(np.uint8), 0)):
        np.testing.assert_array_equal(decode(tiff(values, white=0), channels=1)[..., 0], 255 - (values >> shift))


def test_twelve_bits_keep_their_upper_eight():
    # Two numbers in three bytes (TIFF 6.0, FillOrder 1).
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    a, b = deep.reshape(-1, 2).T
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], axis=1).astype(np.uint8).reshape(64, 96)
    data = bytearray(tiff(packed))
    first = struct.unpack("<I", data[4:8])[0]
    for entry in range(first + 2, len(data) - 4, 12):
        tag = struct.unpack("<H", data[entry : entry + 2])[0]
        for wanted, value in ((256, 64), (258, 12)):
            if tag == wanted:
                data[entry + 8 : entry + 12] = struct.pack("<I", value)
    np.testing.assert_array_equal(decode(bytes(data), channels=1)[..., 0], deep >> 4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(DEEP.astype(np.int16), signed=True), "TIFF of mode I: save it as grey or RGB of 8 or 16 bits"),
        (tiff(DEEP.astype(np.uint32)), "TIFF of mode I: save"),
        (encoded(DEEP.astype(np.float32), "TIFF"), "TIFF of mode F: save"),
        (encoded(Image.new("LAB", (8, 8)), "TIFF"), "TIFF of mode LAB: save"),
        (tiff(DEEP, DEEP, DEEP), "TIFF of 3 pages; save each as a file of its own"),
    ],
    ids=["signed", "32 bits", "float", "lab", "pages"],
)
def test_tiffs_that_have_no_eight_bits_or_several_pages_are_refused(data, words):
    with pytest.raises(DataError, match=words):
        decode(data)
    with pytest.raises(DataError, match=words):
        decode_crop(data, box=(0, 0, 4, 4), size=(4, 4))


def test_a_smaller_copy_in_a_tiff_is_no_page():
    data = tiff(DEEP, DEEP[::2, ::2], purpose=1)
    np.testing.assert_array_equal(decode(data, channels=1)[..., 0], DEEP >> 8)
    assert dimensions(data) == (64, 64)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_what_moves_the_first_frame_is_taken(kind):
    frames = [PICTURE.quantize(32).convert("RGB"), Image.new("RGB", PICTURE.size, (9, 9, 200))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    np.testing.assert_array_equal(decode(data), np.asarray(frames[0]))


def oriented(value: int, kind="JPEG", **options) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = value
    return encoded(photograph(45, 77), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_images_are_held_upright(value, kind):
    data = oriented(value, kind)
    expected = reference(data)
    assert dimensions(data) == expected.shape[:2] == ((77, 45) if value >= 5 else (45, 77))
    np.testing.assert_array_equal(decode(data), expected)
    # A region of the size it is cut to is not resized, so it can be compared exactly.
    crop = decode_crop(data, box=(3, 5, 20, 30), size=(20, 30))
    np.testing.assert_array_equal(crop, expected[3:23, 5:35])


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_damaged_orientation_counts_as_upright(exif):
    plain = encoded(RGB)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    np.testing.assert_array_equal(decode(plain[:2] + segment + plain[2:]), decode(plain))


def test_hsv_is_pillows_and_lab_is_cies():
    data = encoded(RGB, "PNG")
    hsv, expected = decode(data, space="hsv").astype(int), np.asarray(PICTURE.convert("HSV")).astype(int)
    hue = np.abs(hsv[..., 0] - expected[..., 0])
    # Hue is a circle of 256; it is loose where there is next to no colour.
    assert np.minimum(hue, 256 - hue)[expected[..., 1] > 20].max() <= 2
    assert np.abs(hsv - expected)[..., 1:].max() <= 1
    assert np.abs(decode(data, space="lab") - lab(RGB)).max() <= 2


def lab(image: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of sRGB under D65, scaled to bytes: IEC 61966-2-1 and CIE 15."""
    value = image / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = linear @ np.array(matrix).T / [0.9505, 1.0, 1.089]
    x, y, z = np.moveaxis(np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116), -1, 0)
    return np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128], axis=-1)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([name for name in EXACT if name != "one pixel"]))
def test_a_region_is_what_the_whole_has_there(data, name):
    # 4:2:0 blocks of 16 and smooth upsampling across them: the rows that are not decoded must not show.
    top, left = data.draw(st.integers(0, 89)), data.draw(st.integers(0, 119))
    height, width = data.draw(st.integers(1, 90 - top)), data.draw(st.integers(1, 120 - left))
    crop = decode_crop(EXACT[name], box=(top, left, height, width), size=(height, width))
    np.testing.assert_array_equal(crop, decode(EXACT[name])[top : top + height, left : left + width])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(4, 300), st.integers(4, 300), st.integers(4, 120), st.integers(4, 120), st.sampled_from([1, 3]))
def test_resizing_is_close_to_pillows(height, width, rows, columns, channels):
    image = photograph(height, width, channels=channels)
    difference = np.abs(resize(image, (rows, columns)).astype(int) - resize_exactly(image, (rows, columns)))
    assert difference.shape == (rows, columns, channels)
    # The filters have one variance and nearly one shape; they differ most where few pixels hold the sharp edge.
    assert difference.mean() <= 2.0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(1, 8, exclude_min=True))
def test_the_blur_has_the_variance_of_the_triangle(scale):
    taps = blur(scale).astype(float)
    places = np.arange(len(taps)) - len(taps) // 2
    assert taps.sum() == pytest.approx(1, abs=1e-6)
    assert (taps * places**2).sum() == pytest.approx((scale**2 - 1) / 6, abs=1e-5)
    np.testing.assert_allclose(taps, taps[::-1])


def test_large_regions_are_decoded_smaller():
    data = encoded(photograph(640, 800), quality=90)
    head = jpeg.header(data)
    assert jpeg.pixels(data, head, grey=False, rows=100, factor=4).shape == (28, 200, 3)
    box = (31, 53, 601, 701)
    crop = decode_crop(data, box=box, size=(64, 64))
    expected = resize_exactly(decode(data)[31:632, 53:754], (64, 64))
    difference = np.abs(crop.astype(int) - expected)
    # The transform's own low-pass filter is sharper than a triangle; edges of the made image differ by some levels.
    assert difference.mean() < 1
    assert difference.max() < 20


def test_a_turned_image_is_cropped_alike():
    image = photograph(400, 600)
    for value in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = value
        data = encoded(image, exif=exif, subsampling=0, quality=95)
        height, width = dimensions(data)
        box = (10, 20, height - 50, width - 90)
        whole = decode(data)[10 : height - 40, 20 : width - 70]
        for size in ((50, 80), (200, 150)):
            crop = decode_crop(data, box=box, size=size)
            assert np.abs(crop.astype(int) - resize_exactly(whole, size)).mean() < 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([name for name in EXACT if name != "one pixel"]), st.sampled_from([1, 3]))
def test_a_region_between_pixels_is_cut_out_of_the_whole_image_resized(data, name, channels):
    """Whatever is not decoded does not show, nor that the filter looks past the region."""
    height, width = data.draw(st.floats(1, 90)), data.draw(st.floats(1, 120))
    box = (data.draw(st.floats(0, 90 - height)), data.draw(st.floats(0, 120 - width)), height, width)
    size = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    crop = decode_crop(EXACT[name], box=box, size=size, channels=channels, exact=True)
    # From eight times the size on a JPEG is decoded smaller.
    if min(height / size[0], width / size[1]) < 8:
        expected = resize_exactly(decode(EXACT[name], channels=channels), size, region=box)
        np.testing.assert_array_equal(crop, expected)


def test_a_turned_image_is_cropped_alike_between_pixels():
    for value in range(1, 9):
        data = oriented(value)
        box = fitting_box(dimensions(data), (20, 24), share=0.875)
        crop = decode_crop(data, box=box, size=(20, 24), exact=True)
        # Turned by 90 degrees rows are resized before columns, and rounded to a level between.
        difference = np.abs(crop.astype(int) - resize_exactly(decode(data), (20, 24), region=box))
        assert difference.mean() < 0.3
        assert difference.max() <= 2


CUT = {
    "jpeg": (EXACT["jpeg 4:4:4"], "JPEG cut short or damaged"),
    "jpeg progressive": (EXACT["jpeg progressive"], "JPEG cut short or damaged"),
    "png": (EXACT["png"], "PNG cut short or damaged"),
    "webp": (EXACT["webp lossy"], "not a whole|WEBP cut short|header is damaged"),
    "bmp": (EXACT["bmp"], "BMP cut short or damaged"),
    "gif": (EXACT["gif"], "GIF cut short or damaged"),
    "tiff": (EXACT["tiff"], "TIFF cut short or damaged"),
    "ppm": (EXACT["ppm"], "PPM cut short or damaged"),
}


@pytest.mark.parametrize("name", CUT)
def test_bytes_cut_short_are_named(name, capfd):
    data, words = CUT[name]
    for keep in (len(data) // 2, len(data) - 40):
        with pytest.raises(DataError, match=words):
            decode(data[:keep])
        with pytest.raises(DataError, match=words):
            decode_crop(data[:keep], box=(0, 0, 90, 120), size=(20, 20))
    assert capfd.readouterr().err == "", "OpenCV writes there of its own"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(EXACT)), st.integers(0, 400), st.binary(min_size=1, max_size=40), st.booleans())
def test_damage_is_a_data_error_or_pixels_and_nothing_else(name, place, junk, crop):
    data = EXACT[name]
    place = place * len(data) // 400
    data = data[:place] + junk + data[place + len(junk) :]
    try:
        shape = dimensions(data, max_pixels=1_000_000)
        image = decode_crop(data, box=(0, 0, *shape), size=(8, 8)) if crop else decode(data, max_pixels=1_000_000)
    except DataError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3


@pytest.mark.parametrize("name", ["jpeg baseline 4:2:0", "jpeg progressive"])
@pytest.mark.parametrize("stray", [b"\0", b"abc", b"\0\xff\0\xff\xff", b"\xff\xd0\x01"])
def test_stray_bytes_between_the_segments_of_a_jpeg_are_passed_over(name, stray):
    data = EXACT[name]
    tables = data.index(b"\xff\xdb")
    for place in (2, tables, data.index(b"\xff\xdb", tables + 2), data.index(b"\xff\xc4")):
        spilled = data[:place] + stray + data[place:]
        if place > 2:
            np.testing.assert_array_equal(reference(spilled), reference(data))
        np.testing.assert_array_equal(decode(spilled), decode(data))
        box = (3, 5, 20, 30)
        np.testing.assert_array_equal(
            decode_crop(spilled, box=box, size=(20, 30)), decode_crop(data, box=box, size=(20, 30))
        )
        assert dimensions(spilled) == dimensions(data)


def test_damage_within_the_rows_that_are_decoded_is_seen():
    data = encoded(photograph(600, 400), restart_marker_rows=1)
    at = len(data) // 4
    damaged = data[:at] + b"\xff\xd9" + data[at + 2 :]
    with pytest.raises(DataError, match="damaged"):
        decode_crop(damaged, box=(0, 0, 300, 300), size=(64, 64))
    spilled = data[:-2] + b"left over" + data[-2:]
    np.testing.assert_array_equal(decode(spilled), decode(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, world", "not a whole JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image: 12 bytes, first b'hello, w'"),
        (b"GIF89a" + bytes(100), "not a whole JPEG"),
        (b"\xff\xd8\xff", "no frame header in its 3 bytes"),
        (b"\xff\xd8\xff\xe0\x00", "no frame header"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x10\x01\x01\x11\x00", "16x0 pixels"),
    ],
)
def test_what_is_no_image_is_said(data, words):
    for read in (decode, dimensions, lambda data: decode_crop(data, box=(0, 0, 1, 1), size=(1, 1))):
        with pytest.raises(DataError, match=words):
            read(data)


def bomb() -> bytes:
    """The header of a PNG of 50000 x 50000, with a body of zeros compressed a thousandfold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


def test_bombs_are_refused_with_their_size():
    huge = bytearray(encoded(RGB))
    at = jpeg.header(bytes(huge)).frame + 5
    huge[at : at + 4] = struct.pack(">HH", 60_000, 50_000)
    for data, words in (
        (bytes(huge), "50000x60000 is 3,000,000,000 pixels"),
        (bomb(), "2,?500,?000,?000 pixels|50000x50000 is 2,500,000,000"),
    ):
        for read in (decode, dimensions, lambda data: decode_crop(data, box=(0, 0, 9, 9), size=(9, 9))):
            with pytest.raises(DataError, match=words):
                read(data)
    with pytest.raises(DataError, match="120x90 is 10,800 pixels; images over 10,000 are refused"):
        decode(EXACT["png"], max_pixels=10_000)


def test_a_region_may_be_chosen_by_the_shape():
    for name in ("png", "jpeg 4:4:4"):
        centre = partial(fitting_box, size=(30, 30), share=0.875)
        crop = decode_crop(EXACT[name], box=centre, size=(30, 30))
        np.testing.assert_array_equal(crop, decode_crop(EXACT[name], box=centre((90, 120)), size=(30, 30)))


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 91, 5), (0, 100, 5, 21), (0, 0, 0, 5)])
def test_a_region_outside_is_refused(box):
    for name in ("png", "jpeg 4:4:4"):
        with pytest.raises(DataError, match="is not within the image, 120x90"):
            decode_crop(EXACT[name], box=box, size=(4, 4))


@pytest.mark.parametrize("wrong", [{"channels": 2}, {"space": "xyz"}, {"channels": 1, "space": "hsv"}])
def test_colours_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="|".join(wrong)):
        decode(EXACT["png"], **wrong)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**32))
def test_random_regions_lie_within(height, width, seed):
    top, left, rows, columns = random_box(np.random.default_rng(seed), (height, width))
    assert 0 <= top <= height - rows
    assert 0 <= left <= width - columns
    assert rows >= 1
    assert columns >= 1
    top, left, rows, columns = fitting_box((height, width), (224, 224), share=0.875)
    assert min(top, left) >= 0
    # 7/8 of the shorter side; the longer is resized to whole pixels, so by up to a 256th more.
    assert min(rows, columns) == pytest.approx(0.875 * min(height, width))
    assert 1 <= max(rows, columns) / min(rows, columns) <= 257 / 256
    assert top + rows <= height + 1e-9
    assert left + columns <= width + 1e-9


@settings(max_examples=200, deadline=None, derandomize=True)
@given(*[st.integers(1, 900)] * 2, *[st.integers(1, 300)] * 2, st.floats(0.05, 1))
def test_centred_regions_lie_within_for_every_shape(height, width, rows, columns, share):
    top, left, down, across = fitting_box((height, width), (rows, columns), share=share)
    assert min(top, left) >= 0
    assert min(down, across) > 0
    assert top + down <= height + 1e-9
    assert left + across <= width + 1e-9
    if share == 1:
        assert top == 0 or left == 0


def test_the_largest_centred_region_of_the_same_shape_is_the_image():
    assert fitting_box((96, 160), (48, 80)) == (0, 0, 96, 160)
    assert fitting_box((64, 64), (56, 56), share=0.875) == (4, 4, 56, 56)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**32))
def test_regions_of_a_random_scale_lie_within(height, width, seed):
    top, left, rows, columns = scaled_box(np.random.default_rng(seed), (height, width), (224, 200), shorter=(224, 480))
    assert 0 <= top <= height - rows
    assert 0 <= left <= width - columns
    assert min(rows, columns) >= 1


def test_regions_of_a_random_scale_have_the_stated_distribution():
    """Of 1000x1500 pixels with a shorter side of S, a crop of 224 is 224000 / S pixels; places are even."""
    generator = np.random.default_rng(0)
    boxes = np.array([scaled_box(generator, (1000, 1500), (224, 224), shorter=(256, 480)) for _ in range(4000)])
    np.testing.assert_array_equal(boxes[:, 2], boxes[:, 3])
    shorter = 224_000 / boxes[:, 2]
    assert (shorter.min(), shorter.max()) == pytest.approx((256, 480), abs=1)
    # Uniform on 256 to 480: mean 368, deviation 65, so that 3.3 standard errors of 4000 draws are 3.4.
    assert shorter.mean() == pytest.approx(368, abs=3.4)
    for place, spare in ((boxes[:, 0], 1000 - boxes[:, 2]), (boxes[:, 1], 1500 - boxes[:, 3])):
        assert (place / spare).mean() == pytest.approx(0.5, abs=0.016)
    fixed = np.array([scaled_box(generator, (1000, 1500), (224, 224), shorter=(256, 256)) for _ in range(9)])
    assert set(fixed[:, 2]) == {875}
    squeezed = RandomScaleFit(shorter=(200, 300))
    with pytest.raises(ConfigError, match="a region of 224x224 pixels does not fit into a shorter side of 200"):
        squeezed.box((1000, 1500), (224, 224), generator)
    with pytest.raises(ValueError, match="smaller length comes first"):
        RandomScaleFit(shorter=(300, 200))


def test_random_regions_have_the_stated_distribution():
    generator = np.random.default_rng(0)
    boxes = np.array([random_box(generator, (1000, 1000), scale=(0.1, 0.5)) for _ in range(4000)])
    area, aspect = boxes[:, 2] * boxes[:, 3] / 1e6, np.log(boxes[:, 3] / boxes[:, 2])
    # Uniform on (0.1, 0.5): mean 0.3, and 3.3 standard errors of 4000 draws are 0.006.
    assert area.mean() == pytest.approx(0.3, abs=0.006)
    assert aspect.mean() == pytest.approx(0, abs=0.01)
    assert np.abs(aspect).max() <= np.log(4 / 3) + 0.01


def test_real_photographs_are_decoded_as_pillow_does():
    if not REAL.is_file():
        pytest.skip(f"needs real photographs in {REAL}")
    errors = []
    for data in real_photographs(40):
        whole = reference(data)
        np.testing.assert_array_equal(decode(data), whole)
        height, width = whole.shape[:2]
        top, left = height // 5, width // 5
        crop = decode_crop(data, box=(top, left, height // 2, width // 2), size=(96, 96))
        expected = resize_exactly(whole[top : top + height // 2, left : left + width // 2], (96, 96))
        errors.append(np.abs(crop.astype(int) - expected).mean())
    assert np.mean(errors) < 1.0


def real_photographs(count: int):
    with tarfile.open(REAL) as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                for file in inner:
                    yield inner.extractfile(file).read()
                    count -= 1
                    if not count:
                        return
