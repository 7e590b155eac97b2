"""Pictures of spectrograms, as a network for sound sees them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

ENLARGED = 4
"""Pixels a side of the square that is drawn for a number."""


def spectrograms(images: np.ndarray) -> Iterator[bytes]:
    """A PNG of each image uint8 [N, H, W, 1]: time to the right, high bands at the top; 0 is dark blue, 255 yellow."""
    from matplotlib import colormaps
    from PIL import Image

    for image in images:
        drawn = Image.fromarray(colormaps["cividis"](image[..., 0], bytes=True)[..., :3])
        size = ENLARGED * image.shape[1], ENLARGED * image.shape[0]
        written = io.BytesIO()
        drawn.resize(size, Image.Resampling.NEAREST).save(written, "PNG")
        yield written.getvalue()
