"""Encoded images that Pillow decodes: all but JPEG and plain PNG."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnjax.errors import DataError

FORMATS = ("PNG", "WEBP", "BMP", "JPEG", "GIF", "TIFF", "PPM")
_LOSSLESS = ("PNG", "TIFF", "BMP")
# What it raises of damaged bytes; a warning among them where warnings are errors.
_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, UserWarning)
_TIFF_ERRORS = (ArithmeticError, LookupError, TypeError)
# Its modes of 8 bits; in others are numbers of more than 16 bits, signed ones, or colours that it cannot convert.
_MODES = frozenset(("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"))
# Tags of TIFF 6.0: what a page is for, how large it is as stored, and what its numbers mean.
_NEW_SUBFILE, _SUBFILE, _WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _ORIENTATION = 254, 255, 256, 257, 258, 262, 274


def within(shape: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """`shape` (height, width) itself. Raises DataError where it has more pixels."""
    height, width = shape
    if height * width > max_pixels:
        raise DataError(f"{width}x{height} is {height * width:,} pixels; images over {max_pixels:,} are refused")
    return shape


def dimensions(data: bytes, max_pixels: int) -> tuple[int, int]:
    """(height, width) of an image held upright (EXIF). Raises DataError."""
    picture = _open(data, max_pixels)
    # A PNG may say its orientation after its pixels, so that they are decoded here too.
    with _damage(picture):
        swapped = picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        # Of a TIFF, Pillow's own size is that of the upright image.
        width, height = (picture.tag_v2[_WIDTH], picture.tag_v2[_LENGTH]) if _is_tiff(picture) else picture.size
    return (width, height) if swapped else (height, width)


def pixels(data: bytes, channels: int, max_pixels: int) -> np.ndarray:
    """Decode to uint8 [H, W, channels], held upright; what moves by its first frame.

    Raises DataError, also for a TIFF of several pages, or of other numbers than 1, 8, 12 or 16 bits without a sign.
    """
    from PIL import Image, ImageOps

    picture = _open(data, max_pixels)
    form = picture.format
    with _damage(picture):
        tags = dict(picture.tag_v2) if _is_tiff(picture) else {}
        picture.load()
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and not tags):
        # Pillow clips 16-bit grey where it should scale it.
        picture = Image.fromarray(_upper_bits(np.asarray(picture), tags))
    if picture.mode not in _MODES:
        raise DataError(f"{form} of mode {picture.mode}: save it as grey or RGB of 8 or 16 bits without a sign")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    image = np.array(picture.convert("RGB" if channels == 3 else "L"))
    return image.reshape(*image.shape[:2], channels)


def values(data: bytes, max_pixels: int) -> np.ndarray:
    """The numbers of an image's pixels as they are stored, uint8 [H, W]: grey levels, places in the palette, or bits.

    Raises DataError for formats that lose some, for colours, and for more than 8 bits.
    """
    from PIL import ImageOps

    picture = _open(data, max_pixels)
    form = picture.format
    lossy = form == "TIFF" and picture.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    if form not in _LOSSLESS or lossy:
        raise DataError(
            f"{form}{' compressed as JPEG or WebP' if lossy else ''}: its values are not kept exactly; a "
            f"mask must be {', '.join(_LOSSLESS[:-1])} or {_LOSSLESS[-1]}"
        )
    with _damage(picture):
        picture.load()
        picture = ImageOps.exif_transpose(picture)
    if picture.mode not in ("1", "L", "P"):
        raise DataError(
            f"{form} of mode {picture.mode}: a mask has one value of 8 bits for each pixel; "
            "save it as grey, or with a palette"
        )
    return np.array(picture).astype(np.uint8)


def _open(data: bytes, max_pixels: int) -> Any:
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise DataError(
            f"not a whole JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image: {len(data)} bytes, first {data[:8]!r}"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{error}; images over {max_pixels:,} pixels are refused") from None
    except (*_ERRORS, *_TIFF_ERRORS) as error:
        raise DataError(f"image header is damaged: {error}") from None
    width, height = picture.size
    within((height, width), max_pixels)
    if _is_tiff(picture):
        _check_pages(picture)
    return picture


def _is_tiff(picture: Any) -> bool:
    return picture.format == "TIFF"


def _check_pages(picture: Any) -> None:
    """Raise DataError for a TIFF with a second page, but where that is the first one made smaller, or a mask of it."""
    with _damage(picture):
        for page in range(1, picture.n_frames):
            picture.seek(page)
            if not (picture.tag_v2.get(_NEW_SUBFILE, 0) & 0b101 or picture.tag_v2.get(_SUBFILE) == 2):
                raise DataError(f"TIFF of {picture.n_frames} pages; save each as a file of its own")
        picture.seek(0)


@contextlib.contextmanager
def _damage(picture: Any) -> Iterator[None]:
    try:
        yield
    except (*_ERRORS, *_TIFF_ERRORS) as error:
        raise DataError(f"{picture.format} cut short or damaged: {error}") from None


def _upper_bits(values: np.ndarray, tags: Mapping[int, Any]) -> np.ndarray:
    """The upper 8 bits of the 12 or 16 of grey values; 0 is white where a TIFF's tags say so."""
    bits = tags.get(_BITS, (16,))[0]
    grey = (values >> (bits - 8)).astype(np.uint8)
    return 255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey
