"""Which region of an image an example is cut from."""

from __future__ import annotations

import math

import numpy as np

from cnnjax.data.jpeg import Box, WholeBox


def random_box(
    generator: np.random.Generator,
    shape: tuple[int, int],
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    attempts: int = 10,
) -> WholeBox:
    """A random region (top, left, height, width) of an image of `shape` (height, width) (Szegedy et al. 2014).

    Its share of the area is uniform in `scale`, the logarithm of width / height uniform in that of `ratio`; after
    `attempts` regions that did not fit, the largest centred one within `ratio`. This is torchvision's
    RandomResizedCrop.
    """
    height, width = shape
    for _ in range(attempts):
        part = generator.uniform(*scale) * height * width
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        across, down = round(math.sqrt(part * aspect)), round(math.sqrt(part / aspect))
        if 0 < across <= width and 0 < down <= height:
            return int(generator.integers(height - down + 1)), int(generator.integers(width - across + 1)), down, across
    aspect = min(max(width / height, ratio[0]), ratio[1])
    across, down = min(width, round(height * aspect)), min(height, round(width / aspect))
    down, across = max(down, 1), max(across, 1)
    return (height - down) // 2, (width - across) // 2, down, across


def scaled_box(
    generator: np.random.Generator, shape: tuple[int, int], size: tuple[int, int], *, shorter: tuple[int, int]
) -> WholeBox:
    """The region (top, left, height, width) that becomes `size` where an image of `shape` is resized and cut.

    Resized so that its shorter side has a length drawn evenly from the whole numbers `shorter` (least, largest; at
    least as long as `size`), keeping its aspect ratio; `size` is cut out at a random place. In whole pixels of the
    image.
    """
    length, least = int(generator.integers(shorter[0], shorter[1] + 1)), min(shape)
    down, across = (max(1, round(side * least / length)) for side in size)
    top, left = (int(generator.integers(whole - part + 1)) for whole, part in zip(shape, (down, across), strict=True))
    return top, left, down, across


def fitting_box(shape: tuple[int, int], size: tuple[int, int], *, share: float = 1.0) -> Box:
    """The region that becomes `size` (height, width) where an image of `shape` is resized and its centre cut out.

    Resized so that it just covers `size` / `share` (rounded to whole pixels), keeping its aspect ratio; the central
    `size` taken. Edges lie between pixels, where torchvision's Resize and CenterCrop have them: a share of 224 / 256
    is how ImageNet is evaluated, Resize(256) and CenterCrop(224).
    """
    tight = 0 if shape[0] * size[1] <= shape[1] * size[0] else 1
    target = round(size[tight] / share)
    # torchvision, too, rounds the longer side down; so it is as long as `size` at least.
    resized = [target if axis == tight else target * shape[axis] // shape[tight] for axis in (0, 1)]
    (top, height), (left, width) = map(_centred, shape, resized, size)
    return top, left, height, width


def _centred(length: int, resized: int, size: int) -> tuple[float, float]:
    """(start, length), in pixels of the original side, of the central `size` pixels of the `resized` side."""
    before = round((resized - size) / 2)
    return before * length / resized, size * length / resized
