"""Antialiased bilinear resizing on the host."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

import numpy as np

# Beyond this Pillow's own filter is quicker than a wide blur of every source pixel.
MAX_BLUR = 4


@cache
def opencv() -> Any:
    """OpenCV with one thread: images are decoded in parallel by the loader, a thread or process each."""
    import cv2

    cv2.setNumThreads(1)
    # What is wrong with an image is an error of ours.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 [H, W, C] to [*size, C] as Pillow's and torchvision's antialiased bilinear filter does, or nearly.

    That filter is a triangle as wide as the scale, at each output pixel's own place. Here it is a blur of the same
    variance, the same everywhere, and then plain bilinear interpolation: a third of the time, and on photographs
    0.7 of 255 from it on average (`benchmarks/input.py --errors`). Scales over 4 are Pillow's itself.
    """
    height, width = size
    down = image.shape[0] / height, image.shape[1] / width
    if max(down) > MAX_BLUR:
        return resize_exactly(image, size)
    cv2 = opencv()
    if max(down) > 1:
        image = cv2.sepFilter2D(image, -1, blur(down[1]), blur(down[0]), borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)


def resize_exactly(
    image: np.ndarray, size: tuple[int, int], *, region: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Resize uint8 [H, W, C], or its `region` (top, left, height, width), to [*size, C]: Pillow's bilinear filter.

    Edges of the region may lie between pixels. The filter looks past them, up to the image's border, so the result is
    what is cut out of the whole image resized.
    """
    from PIL import Image

    top, left, height, width = region or (0, 0, *image.shape[:2])
    first, last = reach(top, height, size[0], image.shape[0])
    start, stop = reach(left, width, size[1], image.shape[1])
    part = image[first:last, start:stop]
    picture = Image.fromarray(part[..., 0] if part.shape[-1] == 1 else part)
    # One direction after the other: Pillow would choose which is first by what is cheaper, and round otherwise. It
    # refuses a region over the border by what rounding leaves.
    right, bottom = min(left + width - start, stop - start), min(top + height - first, last - first)
    bilinear = Image.Resampling.BILINEAR
    picture = picture.resize((size[1], last - first), bilinear, box=(left - start, 0, right, last - first))
    picture = picture.resize((size[1], size[0]), bilinear, box=(0, top - first, size[1], bottom))
    return np.asarray(picture).reshape(*size, -1)


def reach(start: float, length: float, size: int, limit: int) -> tuple[int, int]:
    """The first pixel that the filter looks at to make `size` ones of `length` from `start` on, and the one after the
    last; an image has `limit`.
    """
    support = max(length / size, 1.0)
    return max(math.floor(start - support), 0), min(math.ceil(start + length + support) + 1, limit)


@lru_cache(maxsize=4096)
def blur(scale: float) -> np.ndarray:
    """float32 taps that, followed by bilinear interpolation, have the variance of a triangle of half-width `scale`.

    A mixture of the two sampled triangles whose half-widths are the integers about it: exact at integers. Sampled, a
    triangle of half-width n has variance (n^2 - 1) / 6.
    """
    if scale <= 1:
        return np.ones(1, np.float32)
    below, above = math.floor(scale), math.floor(scale) + 1
    share = (scale**2 - below**2) / (above**2 - below**2)
    wide = _triangle(above)
    wide *= share
    wide[1:-1] += (1 - share) * _triangle(below)
    return wide.astype(np.float32)


def _triangle(half: int) -> np.ndarray:
    box = np.full(half, 1 / half)
    return np.convolve(box, box)
