"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8x8, no download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
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
        rows = _rows()
        everything = Examples(rows[:, :64].astype(np.uint8).reshape(-1, 8, 8, 1), rows[:, 64].astype(np.int32))
        train, test = split_off(everything, self.test)
        return Dataset("digits", train, test, classes=tuple("0123456789"), maximum=16)


def _rows() -> np.ndarray:
    """[1797, 65]: the pixels of each image, row by row, and its digit.

    Read from scikit-learn's file, without importing scikit-learn, which takes longer than all else of a short start.
    """
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            with gzip.open(file, "rt") as lines:
                return np.loadtxt(lines, delimiter=",")
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return np.column_stack([digits.data, digits.target])
