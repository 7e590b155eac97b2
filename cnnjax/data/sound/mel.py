"""The mel scale, and filters that sum a spectrum's bins into bands of equal width on it. NumPy, computed once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cnnjax.errors import ConfigError

MelScale = Literal["htk", "slaney"]
MelNorm = Literal["none", "slaney"]

_LINEAR = 200 / 3
"""Hertz of a mel below `_BEND` on Slaney's scale."""
_BEND = 1000.0
"""Hertz from which on Slaney's scale is logarithmic."""
_STEP = np.log(6.4) / 27
"""Of the logarithm of a frequency, a mel above `_BEND`."""


def hertz_to_mel(hertz: np.ndarray | float, scale: MelScale) -> np.ndarray:
    """Mels of frequencies in hertz.

    "htk": 2595 log10(1 + f / 700) (Young et al. 2006, The HTK Book, section 5.4). "slaney": 3 f / 200 up to 1000 Hz,
    then 27 mels to each factor of 6.4 (Slaney 1998, Auditory Toolbox).
    """
    f = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + f / 700)
    above = _BEND / _LINEAR + np.log(np.maximum(f, _BEND) / _BEND) / _STEP
    return np.where(f < _BEND, f / _LINEAR, above)


def mel_to_hertz(mels: np.ndarray | float, scale: MelScale) -> np.ndarray:
    """Frequencies in hertz of mels; the inverse of `hertz_to_mel`."""
    m = np.asarray(mels, np.float64)
    if scale == "htk":
        return 700 * (10 ** (m / 2595) - 1)
    bend = _BEND / _LINEAR
    return np.where(m < bend, m * _LINEAR, _BEND * np.exp(_STEP * (np.maximum(m, bend) - bend)))


def mel_filters(
    *, rate: int, fft: int, bands: int, low: float, high: float, scale: MelScale, norm: MelNorm
) -> np.ndarray:
    """Triangular filters float64 [bands, fft // 2 + 1], the lowest band first.

    The feet and tips of the triangles are `bands` + 2 frequencies, evenly spaced in mels from `low` to `high` hertz; a
    triangle's feet are its neighbours' tips. norm: "none" has tips of 1; "slaney" divides each by half of its width in
    hertz, so that all have one area. Raises ConfigError for a band so narrow that no bin of the spectrum lies in it.
    """
    bins = np.arange(fft // 2 + 1) * (rate / fft)
    ends = hertz_to_mel(np.array([low, high]), scale)
    feet = mel_to_hertz(np.linspace(ends[0], ends[1], bands + 2), scale)
    left, tip, right = feet[:-2, None], feet[1:-1, None], feet[2:, None]
    filters = np.maximum(0, np.minimum((bins - left) / (tip - left), (right - bins) / (right - tip)))
    empty = np.flatnonzero(filters.max(1) == 0)
    if len(empty):
        band = int(empty[0])
        raise ConfigError(
            f"bands = {bands}: no bin of the spectrum lies in band {band}, {feet[band]:.0f} to {feet[band + 2]:.0f} Hz "
            f"(bins are {rate / fft:.1f} Hz apart): take fewer bands, or a larger fft than {fft}"
        )
    return filters * 2 / (right - left) if norm == "slaney" else filters
