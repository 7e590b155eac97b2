"""Whether a training moves its parameters at all: float32 cannot add an update that is too small beside them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import jax
import numpy as np


@dataclass(frozen=True)
class Beginning:
    """Parameters before the first step.

    checksums: by array, in the tree's order; None where all of it is 0. largest: the largest magnitude.
    """

    checksums: tuple[int | None, ...]
    largest: float

    @classmethod
    def of(cls, params: Any) -> Self:
        """That of parameters on the host."""
        arrays = [np.asarray(array) for array in jax.tree.leaves(params)]
        largest = max((float(np.abs(array).max()) for array in arrays if array.size), default=0.0)
        return cls(tuple(_checksum(array) if array.any() else None for array in arrays), largest)

    def still(self, params: Any, slot: int | None = None) -> bool:
        """Whether the parameters are those of the beginning: bit for bit or, where an array was 0, to within what
        float32 loses beside the largest.

        slot: of packed parameters. The first array that moved ends the look, as it does of nearly every training.
        """
        arrays = jax.tree.leaves(params)
        return bool(arrays) and all(map(self._is_still, arrays, self.checksums, [slot] * len(arrays)))

    def _is_still(self, array: Any, checksum: int | None, slot: int | None) -> bool:
        values = np.asarray(array) if slot is None else np.asarray(array)[slot]
        if checksum is None:
            return not (np.abs(values) > self.largest * np.finfo(np.float32).eps).any()
        return _checksum(values) == checksum


def looked(row: Mapping[str, Any]) -> bool:
    """Whether a training that has written this row of metrics.jsonl, if any, was looked at: after its first epoch that
    ends with a learning rate."""
    return row.get("learning_rate", 0) > 0


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())
