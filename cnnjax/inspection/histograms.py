"""How weights and activations are distributed, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import traverse_util

from cnnjax.errors import ConfigError

BINS = 40


@dataclass(frozen=True, eq=False)
class Histogram:
    """count: int64 [bins] between edges, float64 [bins + 1]; mean and standard deviation of all the numbers."""

    count: np.ndarray
    edges: np.ndarray
    mean: float
    std: float


def histogram(values: np.ndarray, *, bins: int = BINS) -> Histogram:
    """Of all the numbers, whatever their shape, between the least and the largest.

    Raises ConfigError where some are not finite.
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if not np.isfinite(flat).all():
        raise ConfigError("histograms: some numbers are NaN or infinite: the training diverged")
    count, edges = np.histogram(flat, bins=bins)
    return Histogram(count, edges, float(flat.mean()), float(flat.std()))


def kernel_histograms(params: Mapping[str, Any]) -> dict[str, Histogram]:
    """Of every parameter of two dimensions or more, by its dotted path."""
    flat: Any = traverse_util.flatten_dict(dict(params), sep=".")
    return {path: histogram(array) for path, array in flat.items() if np.ndim(array) >= 2}
