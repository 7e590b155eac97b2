"""Handwritten digits in colour: each digit has a hue of its own, which a part of its images has the opposite of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from cnnjax.data.dataset import Dataset
from cnnjax.data.digits import Digits
from cnnjax.data.examples import Examples
from cnnjax.data.lab import rgb_of

DARKEST, LIGHTEST = 20.0, 70.0
"""L* of paper and of ink."""


class TintedDigits(Digits):
    """scikit-learn's digits as RGB images of 16x16: ink is light and coloured, paper dark and grey.

    The hue of digit d is 36 d degrees in the a*b* plane of CIE L*a*b*, which lightness says nothing of. opposite: the
    share of images whose hue is 180 degrees from there, so that of the digit alone the colour is not known. chroma:
    distance of ink from grey. seed: of which images they are. Labels are the digits.
    """

    opposite: float = Field(default=0.0, ge=0, le=0.5)
    chroma: float = Field(default=30.0, ge=0, le=30)
    seed: int = Field(default=0, ge=0)

    def read(self) -> Dataset:
        digits = super().read()
        train, test = (
            self._tinted(part.held(), digits.maximum, number) for number, part in enumerate((digits.train, digits.test))
        )
        return replace(digits, name="tinted_digits", train=train, test=test, maximum=255)

    def _tinted(self, part: Examples, maximum: int, number: int) -> Examples:
        ink = part.images[..., 0].repeat(2, 1).repeat(2, 2).astype(np.float64) / maximum
        generator = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        turned = generator.random(len(ink)) < self.opposite
        angle = (np.deg2rad(36 * part.labels) + np.pi * turned)[:, None, None]
        lightness = DARKEST + (LIGHTEST - DARKEST) * ink
        lab = np.stack([lightness, self.chroma * ink * np.cos(angle), self.chroma * ink * np.sin(angle)], axis=-1)
        return Examples(np.round(255 * rgb_of(lab)).astype(np.uint8), part.labels)
