"""Masks of objects as COCO's annotations have them: polygons, or the lengths of runs of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax.data.image_form import Region
from cnnjax.errors import DataError

SHOWN = 40
"""Characters of what is wrong that are told."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The mask of one object, in pixels of its image's file.

    polygons: float64 [n, 2] each, x and y of corners; a pixel is the object's where its middle is in one of them, by
    the rule of odd crossings. runs: or a mask of all of the image, bool [h, w]; None of polygons.
    """

    polygons: tuple[np.ndarray, ...] = ()
    runs: np.ndarray | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All that it is made of."""
        return self.polygons if self.runs is None else (np.packbits(self.runs),)

    def drawn(self, region: Region) -> np.ndarray:
        """Which pixels of the example are the object's, bool [H, W]; region: of the image's file that it is.

        Polygons are drawn at the example's size; of runs each pixel takes the nearest of the file's.
        """
        if self.runs is not None:
            return region.nearest(self.runs)
        top, left, tall, wide = map(int, region.box)
        height, width = (tall, wide) if region.form.size is None else region.form.size
        inside = np.zeros((height, width), bool)
        for corners in self.polygons:
            inside |= filled((corners - [left, top]) * [width / wide, height / tall], height, width)
        return inside


def filled(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which pixels' middles lie in a polygon [n, 2] of x and y, bool [height, width]: an odd number of its sides
    is to their left."""
    middles = np.arange(height) + 0.5
    (x, y), (x2, y2) = corners.T[:, :, None], np.roll(corners, -1, axis=0).T[:, :, None]
    side, row = np.nonzero((y <= middles) != (y2 <= middles))
    x, y, x2, y2 = (held[side, 0] for held in (x, y, x2, y2))
    at = x + (middles[row] - y) / (y2 - y) * (x2 - x)
    turns = np.zeros((height, width + 1), np.int64)
    np.add.at(turns, (row, np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)), 1)
    return np.cumsum(turns, axis=1)[:, :width] % 2 == 1


def segments_of(said: Any, size: tuple[int, int]) -> Segments:
    """The `segmentation` of an annotation of an image of that (height, width).

    Raises DataError, which says what is wrong with it: neither lists of x and y of three corners or more, nor run
    lengths (`counts`, a list, or text as COCO compresses it) that fill an image of that `size`.
    """
    if isinstance(said, list) and said:
        return Segments(tuple(map(_polygon, said)))
    if not isinstance(said, dict) or not {"counts", "size"} <= said.keys():
        raise DataError(f"its segmentation is {_shown(said)}; it must be polygons, or `counts` with a `size`")
    if said["size"] != list(size):
        raise DataError(
            f"its segmentation is of {_shown(said['size'])} pixels, its image is {list(size)} high and wide"
        )
    counts = said["counts"]
    lengths = run_lengths(counts) if isinstance(counts, str) else counts
    whole = isinstance(lengths, list) and all(type(length) is int and length >= 0 for length in lengths)
    if not whole or sum(lengths) != size[0] * size[1]:
        raise DataError(f"its segmentation's counts, {_shown(counts)}, do not fill an image of {size[1]}x{size[0]}")
    # Runs go down the columns, and the first one is of pixels that are none.
    values = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return Segments(runs=values.reshape(size[1], size[0]).T)


def _polygon(said: Any) -> np.ndarray:
    numbers = isinstance(said, list) and all(type(number) in (int, float) for number in said)
    if not numbers or len(said) < 6 or len(said) % 2 or not np.isfinite(said).all():
        raise DataError(f"its segmentation has {_shown(said)}; a polygon is x and y of three corners or more")
    return np.array(said, np.float64).reshape(-1, 2)


def run_lengths(text: str) -> list[int]:
    """The lengths in COCO's compressed text: digits of base 32, the lowest first, in characters from "0" on, of which
    32 more says that there are more digits, and 16 more in the last one that the number is negative; from the fourth
    number on it is what is to be added to the one before the last.

    Raises DataError where a number is cut short, or a character is none of these.
    """
    lengths: list[int] = []
    number = digits = 0
    for character in text:
        value = ord(character) - 48
        if not 0 <= value < 64:
            raise DataError(f"its segmentation's counts have {character!r}, which is none of COCO's characters")
        number |= (value & 31) << 5 * digits
        digits += 1
        if value & 32:
            continue
        if value & 16:
            number -= 1 << 5 * digits
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = digits = 0
    if digits:
        raise DataError("its segmentation's counts are cut short")
    return lengths


def _shown(said: Any) -> str:
    text = str(said)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
