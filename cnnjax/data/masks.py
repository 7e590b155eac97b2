"""Masks of images: files of class ids, a value for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnjax.data.decode import MAX_PIXELS, plain_png
from cnnjax.data.pillow import values
from cnnjax.errors import DataError

IGNORED = 255
"""The class id of pixels that are of no class."""


def decode_mask(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values of a mask's pixels as they stand in its file, uint8 [H, W]: grey levels, or numbers in its palette.

    Of black and white, 0 and 1. Raises DataError for another format than PNG, TIFF or BMP (a JPEG's values are only
    about what they were), for colours, for more than 8 bits, and for what is damaged.
    """
    if not data:
        raise DataError("the file is empty")
    plain = plain_png(data, 1, max_pixels)
    return values(data, max_pixels) if plain is None else plain[..., 0]


def class_ids(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The class id of each pixel, uint8 as `pixels`, by a table as `table_of` makes it.

    Raises DataError for a value that is of no class.
    """
    ids = table[pixels]
    if ids.min() < 0:
        strange = int(pixels[ids < 0].min())
        count = int((pixels == strange).sum())
        known = ", ".join(map(str, np.flatnonzero(table >= 0)[:20]))
        raise DataError(
            f"{count:,} of its pixels have the value {strange}, which is of no class; classes have {known}; name such "
            "values with `values`, or one to leave out with `ignored`"
        )
    return ids.astype(np.uint8)


def table_of(values: Sequence[int], ignored: int | None) -> np.ndarray:
    """int16 [256], the class id of each pixel value: its place in `values`, IGNORED for `ignored`, else -1."""
    table = np.full(256, -1, np.int16)
    table[list(values)] = np.arange(len(values))
    if ignored is not None:
        table[ignored] = IGNORED
    return table
