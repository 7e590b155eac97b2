"""Masks of objects, packed into the bits of pixels.

The objects of an image may overlap, so that no map of numbers has them. Packed masks are uint8 [H, W, L], L = ceil(M /
8): bit r % 8 of layer r // 8 says whether a pixel is of object r. Whatever moves pixels without mixing them moves these
too. On the device: `cnnjax.box_masks`.
"""

from __future__ import annotations

import numpy as np


def layers(objects: int) -> int:
    """How many layers the masks of so many objects take."""
    return -(-objects // 8)


def packed(masks: np.ndarray) -> np.ndarray:
    """Masks bool [..., M, H, W] as uint8 [..., H, W, ceil(M / 8)]."""
    return np.packbits(np.moveaxis(np.asarray(masks, bool), -3, -1), axis=-1, bitorder="little")


def unpacked(bits: np.ndarray, objects: int) -> np.ndarray:
    """The masks of the first so many objects, bool [..., M, H, W], of uint8 [..., H, W, L]."""
    return np.moveaxis(np.unpackbits(bits, axis=-1, count=objects, bitorder="little"), -1, -3).astype(bool)
