"""Pictures of clips of sound: the spectrogram that a network sees of each."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from cnnjax.data.sound.clips import seen
from cnnjax.records.resolved import Resolved
from cnnjax.run.images import sound_of

ENLARGED = 4
"""Pixels a side of the square that is drawn for a number."""


def spectrograms(examples: np.ndarray, resolved: Resolved) -> Iterator[bytes]:
    """A PNG of each clip int16 [N, T], or of each image [N, H, W, 1]: time to the right, high bands at the top.

    The floor of the front end is dark blue, full amplitude is yellow.
    """
    from matplotlib import colormaps
    from PIL import Image

    sound = sound_of(resolved)
    if sound is not None and examples.ndim == 2:
        examples = seen(sound, examples)
    elif examples.dtype == np.uint8:
        examples = examples / np.float32(resolved.maximum)
    for image in examples:
        colours = colormaps["cividis"](image[..., 0], bytes=True)[..., :3]
        drawn = Image.fromarray(colours).resize(
            (ENLARGED * image.shape[1], ENLARGED * image.shape[0]), Image.Resampling.NEAREST
        )
        written = io.BytesIO()
        drawn.save(written, "PNG")
        yield written.getvalue()
