"""How clips are cut into frames, in numbers: windows, and how many frames there are. NumPy."""

from __future__ import annotations

from typing import Literal

import numpy as np

Taper = Literal["hann", "hamming", "rectangular"]


def taper_of(name: Taper, length: int) -> np.ndarray:
    """A window of `length` samples, float64: periodic, as spectra want it (the first sample of the next is left out).

    Hann 0.5 - 0.5 cos, Hamming 0.54 - 0.46 cos (Harris 1978).
    """
    if name == "rectangular":
        return np.ones(length)
    middle = 0.5 if name == "hann" else 0.54
    return middle - (1 - middle) * np.cos(2 * np.pi * np.arange(length) / length)


def frame_count(samples: int, *, window: int, hop: int, centred: bool) -> int:
    """How many frames `framed` cuts out of so many samples; 0 where there is no whole one."""
    if centred:
        return samples // hop + 1
    return max(0, (samples - window) // hop + 1)
