"""Encoded images to arrays on the host: JPEG by libjpeg-turbo (simplejpeg), plain PNG by libpng
(OpenCV), other PNG, WebP, BMP, GIF, TIFF and PPM by Pillow.

No JAX and no TensorFlow: input workers import this. Decoding and resizing leave Python's lock, so threads can work.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Literal

import numpy as np

from cnnjax.data import jpeg, pillow
from cnnjax.data.jpeg import Box
from cnnjax.data.pillow import within
from cnnjax.data.resize import opencv, reach, resize, resize_exactly
from cnnjax.errors import ConfigError, DataError

Space = Literal["rgb", "hsv", "lab"]
# A decoded image of so many pixels takes 0.3 GB. Pillow, too, warns from there on.
MAX_PIXELS = 89_000_000
# Scaled-down decoding keeps so many times the pixels a side that are asked for; with as many, errors are twice as high.
MARGIN = 1.5
# As many where exactness is asked for: the difference on photographs, 0.25 of 255, is that of rounding to a byte.
EXACT_MARGIN = 4.0
# Counted up when decoding gives other pixels than before, for what is remembered of them.
VERSION = 2


def dimensions(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of an encoded image held upright (EXIF), read from its header alone. Raises DataError."""
    _present(data)
    if jpeg.is_jpeg(data):
        return within(jpeg.header(data).shape, max_pixels)
    return pillow.dimensions(data, max_pixels)


def decode(data: bytes, *, channels: int = 3, space: Space = "rgb", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image whole, held upright (EXIF), to uint8 [H, W, channels].

    channels: 3, or 1 for grey (ITU-R 601 luma). Transparency is dropped, 16 bits become their upper 8, and of what
    moves the first frame is taken. space: of three channels, "rgb"; "hsv", each of 0..255; "lab", CIE L*a*b* under D65
    as 255/100 L*, a* + 128, b* + 128. Raises DataError where the bytes are none of JPEG, PNG, WebP, BMP,
    GIF, TIFF and PPM, damaged, cut short or over `max_pixels`, and for a TIFF of several pages or of numbers that are
    not 1, 8, 12 or 16 bits without a sign.
    """
    check(channels, space)
    _present(data)
    if not jpeg.is_jpeg(data):
        image = plain_png(data, channels, max_pixels)
        return _convert(pillow.pixels(data, channels, max_pixels) if image is None else image, space)
    head = jpeg.header(data)
    within(head.shape, max_pixels)
    try:
        image = jpeg.pixels(data, head, grey=channels == 1)
    except jpeg.Unsupported:
        return _convert(pillow.pixels(data, channels, max_pixels), space)
    return _convert(np.ascontiguousarray(jpeg.upright(image, head.orientation)), space)


def decode_crop(
    data: bytes,
    *,
    box: Box | Callable[[tuple[int, int]], Box],
    size: tuple[int, int],
    channels: int = 3,
    space: Space = "rgb",
    exact: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode the region `box` (top, left, height, width) of an upright image and resize it to uint8 [*size, channels].

    box: the region, or a function that chooses it given (height, width) of the upright image.
    Bilinear with antialiasing (`resize`). Of a JPEG no row below the region is decoded, which changes nothing, and a
    region over three times `size` is decoded at 1/2, 1/4 or 1/8, about 0.6 of 255 from the whole's on average. Damage
    below the region may go unseen. Raises what `decode` does, and DataError where `box` is not within the image.

    exact: for the filter that Pillow and torchvision have (`resize_exactly`), and scaled decoding from eight times
    `size` on only; a region whose edges lie between pixels is always treated so.
    """
    check(channels, space)
    _present(data)
    if jpeg.is_jpeg(data):
        head = jpeg.header(data)
        box = _inside(box, within(head.shape, max_pixels))
        try:
            return _convert(_jpeg_crop(data, head, box, size, channels, exact), space)
        except jpeg.Unsupported:
            pass
    image = pillow.pixels(data, channels, max_pixels)
    return _convert(_resized(image, _inside(box, (image.shape[0], image.shape[1])), size, exact), space)


def _jpeg_crop(
    data: bytes, head: jpeg.Header, box: Box, size: tuple[int, int], channels: int, exact: bool
) -> np.ndarray:
    top, left, height, width = box = jpeg.stored(box, head)
    exact = exact or _whole(box) is None
    # The output turns with the image, so a region and its size are turned back together.
    target = (size[1], size[0]) if head.swapped else size
    margin = min(height / target[0], width / target[1]) / (EXACT_MARGIN if exact else MARGIN)
    factor = next((factor for factor in jpeg.FACTORS if factor <= margin), 1)
    rows = reach(top, height, target[0], head.height)[1] if exact else math.ceil(top + height)
    image = jpeg.pixels(data, head, grey=channels == 1, rows=rows, factor=factor)
    if factor == 1:
        crop = _resized(image, box, target, exact)
    else:
        region = (top / factor, left / factor, height / factor, width / factor)
        crop = resize_exactly(image, target, region=region) if exact else _resized_alone(image, region, target)
    return crop if head.orientation == 1 else np.ascontiguousarray(jpeg.upright(crop, head.orientation))


def _resized_alone(image: np.ndarray, region: Box, size: tuple[int, int]) -> np.ndarray:
    """`resize_exactly` that does not look past the region: rows below it, if there are any, may not be whole."""
    top, left, height, width = region
    first, start = math.floor(top), math.floor(left)
    part = image[first : math.ceil(top + height), start : math.ceil(left + width)]
    return resize_exactly(part, size, region=(top - first, left - start, height, width))


def _resized(image: np.ndarray, box: Box, size: tuple[int, int], exact: bool) -> np.ndarray:
    whole = None if exact else _whole(box)
    if whole is None:
        return resize_exactly(image, size, region=box)
    top, left, height, width = whole
    return resize(image[top : top + height, left : left + width], size)


def _whole(box: Box) -> jpeg.WholeBox | None:
    """The region in whole numbers; None where an edge lies between pixels."""
    top, left, height, width = map(round, box)
    return (top, left, height, width) if (top, left, height, width) == tuple(box) else None


def check(channels: int, space: str) -> None:
    """ConfigError where there is no such combination of channels and colour space."""
    if channels not in (1, 3):
        raise ConfigError(f"channels={channels}: images are decoded to 1 (grey) or 3")
    if space not in ("rgb", "hsv", "lab"):
        raise ConfigError(f"space={space!r}: there are 'rgb', 'hsv' and 'lab'")
    if channels == 1 and space != "rgb":
        raise ConfigError(f"space={space!r} has three channels; channels=1 is grey")


def _convert(image: np.ndarray, space: Space) -> np.ndarray:
    if space == "rgb":
        return image
    cv2 = opencv()
    return cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL if space == "hsv" else cv2.COLOR_RGB2LAB)


def _present(data: bytes) -> None:
    if not data:
        raise DataError("the file is empty")


def _inside(box: Box | Callable[[tuple[int, int]], Box], shape: tuple[int, int]) -> Box:
    box = box(shape) if callable(box) else box
    top, left, height, width = box
    over = max(top + height - shape[0], left + width - shape[1], -top, -left)
    # Written so that a region that is not a number is refused; edges may be off by what rounding leaves.
    if not (min(height, width) > 0 and over < 1e-6):
        raise DataError(
            f"region {width}x{height} at row {top}, column {left} is not within the image, {shape[1]}x{shape[0]}"
        )
    return box


def plain_png(data: bytes, channels: int, max_pixels: int) -> np.ndarray | None:
    """Decode an 8-bit grey or RGB PNG by libpng (OpenCV): small ones in a quarter to a half of Pillow's time.

    None for any other, and for a damaged one.
    """
    kind = data[25] if len(data) > 29 and data.startswith(b"\x89PNG") and data[24] == 8 else None
    if kind not in ((0,) if channels == 1 else (0, 2)) or any(chunk in data for chunk in (b"eXIf", b"tRNS", b"acTL")):
        return None
    width, height = struct.unpack(">II", data[16:24])
    within((height, width), max_pixels)
    cv2 = opencv()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.shape[:2] != (height, width):
        return None
    if kind == 0:
        return np.repeat(image[..., None], channels, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
