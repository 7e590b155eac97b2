"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8x8, no download."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples
from cnnjax.data.source import Data
from cnnjax.data.splits import split_off


class Digits(Data):
    """The test part of the UCI optical digits (Alpaydin & Kaynak, 1998) as scikit-learn ships it.

    Pixels are 0..16. `test` is the share held out for testing: stratified, the same for every seed.
    """

    test: float = Field(default=0.2, gt=0, lt=1)

    def read(self) -> Dataset:
        import numpy as np
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        everything = Examples(digits.images.astype(np.uint8)[..., None], digits.target.astype(np.int32))
        train, test = split_off(everything, self.test)
        return Dataset("digits", train, test, classes=tuple("0123456789"), maximum=16)
