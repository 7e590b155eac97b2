"""Seeded images of four tissues in several bands of light, two of which differ in one band alone."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cnnjax.data.bands import Banded
from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples

BROAD, NARROW = (1.0, 3.0), 4
"""Bands that the broad absorptions are centred at, and the one of the line."""
WIDTH = 1.5
"""Of a broad absorption, in bands."""


class Tissue(Banded):
    """`examples` + `test_examples` images [size, size, 6] of light that passed through a tissue: what absorbs more is
    darker (Beer and Lambert: exp(-thickness absorbance)).

    A tissue absorbs broadly around band 1 or around band 3, which several bands tell, and has or lacks a narrow line of
    strength `line` in band 4: four classes. How thick it is differs from image to image and from place to place, so
    that no band tells anything by itself. noise: standard deviation of a pixel, as a share of full brightness.

    size: pixels of an image's side. seed: of the images.
    """

    size: int = Field(default=16, ge=4)
    examples: int = Field(default=512, ge=4)
    test_examples: int = Field(default=512, ge=4)
    line: float = Field(default=0.2, ge=0)
    noise: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    def read(self) -> Dataset:
        parts = (self._part(count, number) for number, count in enumerate((self.examples, self.test_examples)))
        train, test = parts
        names = tuple(f"{broad}, {line}" for broad in ("band 1", "band 3") for line in ("no line", "line"))
        return Dataset("tissue", train, test, classes=names)

    def _part(self, count: int, number: int) -> Examples:
        generator = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        labels = (np.arange(count) % 4).astype(np.int32)
        cells = generator.random((count, -(-self.size // 4), -(-self.size // 4)))
        cells = cells.repeat(4, 1).repeat(4, 2)[:, : self.size, : self.size]
        thickness = generator.uniform(0.5, 1.5, (count, 1, 1)) * (0.3 + 0.7 * cells)
        light = np.exp(-thickness[..., None] * absorbances(self.line)[labels][:, None, None, :])
        light += self.noise * generator.standard_normal(light.shape)
        return Examples(self.chosen(np.round(255 * light.clip(0, 1)).astype(np.uint8)), labels)


def absorbances(line: float) -> np.ndarray:
    """Of the four tissues in the six bands, [4, 6], at a thickness of 1."""
    bands = np.arange(6)
    broad = [np.exp(-0.5 * ((bands - centre) / WIDTH) ** 2) for centre in BROAD]
    return np.array([shape + has * line * (bands == NARROW) for shape in broad for has in (0, 1)])
