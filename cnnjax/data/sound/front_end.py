"""Front ends: what makes the image of a clip of sound that a network sees. It runs on the device, in the step."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.config import Config
from cnnjax.data.sound.framing import Taper, frame_count
from cnnjax.data.sound.mel import MelNorm, MelScale, mel_filters
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    import jax

Samples = Annotated[int, Field(ge=1)]


class FrontEnd(Config, union="name"):
    """A spectrogram in decibels, as an image. A subclass says what is made of the power spectrum (`rows`, `bands_of`).

    window, hop: of the short-time Fourier transform, in samples: at 8 kHz, 200 are 25 ms and 80 are 10 ms. fft: samples
    of the discrete Fourier transform, zeros after the window's; None is the least power of two that holds the window.
    taper: of the window. centred: whether the middle of frame t is sample t * hop, with silence around the clip, which
    has 1 + T // hop frames then; else frame t begins there, and all are whole. floor: decibels that are black, 0 in the
    image, of a sine of full amplitude, which is white, 1. What is softer is black, what is louder white.

    An image has a row for each band, the highest first, and a column for each frame.
    """

    no_lanes: ClassVar[str] = "the form of an image decides what is compiled"

    window: Samples = 200
    hop: Samples = 80
    fft: Samples | None = None
    taper: Taper = "hann"
    centred: bool = True
    floor: float = Field(default=-80.0, lt=0, ge=-200)

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.window < 2:
            raise ValueError(f"window = {self.window}: must be at least 2 samples")
        if self.fft is not None and self.fft < self.window:
            raise ValueError(f"fft = {self.fft}: must be at least the window, {self.window} samples")
        return self

    @property
    def points(self) -> int:
        """Samples of the discrete Fourier transform."""
        return self.fft or 1 << (self.window - 1).bit_length()

    def rows(self, rate: int) -> int:
        """Rows of the image. Raises ConfigError where the bands do not fit a sampling rate of so many hertz."""
        raise ConfigError(f"{type(self).__name__} does not define rows(rate)")

    def bands_of(self, power: jax.Array, *, rate: int) -> jax.Array:
        """Powers [..., F, rows] of a power spectrum [..., F, points // 2 + 1], the lowest first. Pure JAX."""
        raise ConfigError(f"{type(self).__name__} does not define bands_of(power, rate=)")

    def shape(self, samples: int, *, rate: int) -> tuple[int, int, int]:
        """(height, width, channels) of the image of so many samples. Raises ConfigError where there is none."""
        frames = frame_count(samples, window=self.window, hop=self.hop, centred=self.centred)
        if not frames:
            raise ConfigError(
                f"front.window = {self.window}: a clip has only {samples} samples; take a shorter window, "
                "longer clips, or centred=True"
            )
        return self.rows(rate), frames, 1

    def images(self, clips: jax.Array, *, rate: int) -> jax.Array:
        """Images float32 [..., height, width, 1] in 0..1 of clips [..., T], float32 in -1..1. Pure JAX."""
        from cnnjax.data.sound import spectrum

        found = spectrum.power(
            clips, window=self.window, hop=self.hop, fft=self.points, taper=self.taper, centred=self.centred
        )
        return spectrum.as_image(self.bands_of(found, rate=rate), floor=self.floor)


class LogMel(FrontEnd):
    """A log-mel spectrogram: bands evenly spaced on the mel scale (Davis & Mermelstein 1980).

    bands: of them. low, high: the range in hertz; `high` of None is half of the sampling rate. scale: "htk" or
    "slaney". norm: "none" has filters whose tips are 1, "slaney" such of one area, as librosa has (some 15 to 20
    decibels less at 8 kHz, so take a lower `floor`).
    """

    bands: int = Field(default=40, ge=1)
    low: float = Field(default=20.0, ge=0)
    high: float | None = Field(default=None, gt=0)
    scale: MelScale = "htk"
    norm: MelNorm = "none"

    def filters(self, rate: int) -> np.ndarray:
        """float64 [bands, points // 2 + 1]. Raises ConfigError where they do not fit the sampling rate."""
        high = rate / 2 if self.high is None else self.high
        if not self.low < high <= rate / 2:
            raise ConfigError(
                f"front: bands of {self.low:g} to {high:g} Hz: low must be below high, and high at most half of the "
                f"sampling rate, {rate / 2:g} Hz"
            )
        return _filters(rate, self.points, self.bands, self.low, high, self.scale, self.norm)

    def rows(self, rate: int) -> int:
        return len(self.filters(rate))

    def bands_of(self, power: jax.Array, *, rate: int) -> jax.Array:
        import jax.numpy as jnp
        from jax.lax import Precision

        # On accelerators a product is rounded to 8 bits of mantissa else, 0.03 decibels.
        return jnp.matmul(power, jnp.asarray(self.filters(rate).T, power.dtype), precision=Precision.HIGHEST)


class Spectrogram(FrontEnd):
    """The power spectrum itself: a row for each bin of the discrete Fourier transform, from 0 to half of the rate."""

    def rows(self, rate: int) -> int:
        return self.points // 2 + 1

    def bands_of(self, power: jax.Array, *, rate: int) -> jax.Array:
        return power


@lru_cache(maxsize=64)
def _filters(*args) -> np.ndarray:
    rate, fft, bands, low, high, scale, norm = args
    try:
        return mel_filters(rate=rate, fft=fft, bands=bands, low=low, high=high, scale=scale, norm=norm)
    except ConfigError as error:
        raise ConfigError(f"front.{error}") from None
