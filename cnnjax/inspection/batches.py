"""Batches of examples for inspection: images in 0..1 on the device, the last batch filled up and masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np


@dataclass(frozen=True, eq=False)
class Batch:
    """images: float32 [B, H, W, C] in 0..1. index: int32 [B], each one's place in its part. valid: bool [B], which are
    examples, and not filled up."""

    images: jax.Array
    index: jax.Array
    valid: jax.Array


def batches_of(images: np.ndarray, size: int) -> Iterator[Batch]:
    """Batches of so many of the images [N, H, W, C], uint8 of 0..255 or floats in 0..1."""
    scaled = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images.astype(np.float32)
    for start in range(0, len(scaled), size):
        index = np.minimum(np.arange(start, start + size, dtype=np.int32), len(scaled) - 1)
        yield Batch(*map(jax.device_put, (scaled[index], index, np.arange(start, start + size) < len(scaled))))
