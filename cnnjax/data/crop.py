"""Which region of an image an example is cut from."""

from __future__ import annotations

import math

import numpy as np

from cnnjax.data.jpeg import Box


def random_box(
    generator: np.random.Generator,
    shape: tuple[int, int],
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    attempts: int = 10,
) -> Box:
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
    return _centred(shape, max(down, 1), max(across, 1))


def fitting_box(shape: tuple[int, int], size: tuple[int, int], *, share: float = 1.0) -> Box:
    """The centred region with the aspect ratio of `size` (height, width), its sides `share` of the largest that fits.

    A share of 224 / 256 is how ImageNet is evaluated: the shorter side resized to 256, the central 224 x 224 taken.
    """
    scale = share * min(shape[0] / size[0], shape[1] / size[1])
    return _centred(shape, max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def _centred(shape: tuple[int, int], height: int, width: int) -> Box:
    return (shape[0] - height) // 2, (shape[1] - width) // 2, height, width
