"""What a data set's clips of sound are, and how a file becomes one, and a clip an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from cnnjax.config import Config
from cnnjax.data.sound.front_end import FrontEnd, LogMel
from cnnjax.data.sound.wav import FULL, as_int16, read_wav
from cnnjax.errors import DataError

if TYPE_CHECKING:
    import jax

Stereo = Literal["error", "mean", "left", "right"]
Place = Literal["start", "centre"]


class Sound(Config):
    """Clips of one length: int16 [samples] at `rate` hertz, of which `front` makes images.

    Of files: a longer one is cut, a shorter one has silence (zeros) added. place: "centre" cuts and adds at both ends
    alike (the odd sample at the end), "start" at the end alone. stereo: whether a file of two channels is an error,
    their mean, or one of them; of more channels it is always an error. resample: whether a file of another rate is
    resampled (`resampled`), or an error.
    """

    no_lanes: ClassVar[str] = "the form of clips decides what is compiled"

    rate: int = Field(ge=1)
    samples: int = Field(ge=1)
    front: FrontEnd = LogMel()
    place: Place = "centre"
    stereo: Stereo = "error"
    resample: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the image of a clip. Raises ConfigError where there is none."""
        return self.front.shape(self.samples, rate=self.rate)

    def images(self, clips: jax.Array) -> jax.Array:
        """Images float32 [B, H, W, 1] in 0..1 of clips int16 [B, samples]. Pure JAX."""
        import jax.numpy as jnp

        return self.front.images(jnp.asarray(clips, jnp.float32) / FULL, rate=self.rate)

    def clip(self, data: bytes) -> np.ndarray:
        """The clip, int16 [samples], of the bytes of a WAV file. Raises DataError."""
        wav = read_wav(data)
        samples = mono(wav.samples, self.stereo)
        if wav.rate != self.rate:
            if not self.resample:
                raise DataError(
                    f"it is sampled at {wav.rate} Hz, not {self.rate} Hz: resample it, or set resample=True with the "
                    "rate that all shall have"
                )
            samples = resampled(samples, wav.rate, self.rate)
        return fitted(as_int16(samples), self.samples, self.place)


def mono(samples: np.ndarray, stereo: Stereo) -> np.ndarray:
    """One channel [T] of samples [T, channels], as `Sound.stereo` says. Raises DataError where it does not."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    if channels > 2:
        raise DataError(f"it has {channels} channels: mix them to one or two")
    if stereo == "error":
        raise DataError("it has two channels: mix them to one, or choose stereo='mean', 'left' or 'right'")
    return samples.mean(1) if stereo == "mean" else samples[:, int(stereo == "right")]


def resampled(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Samples [T] at `rate` hertz at another rate: ceil(T * to / rate) of them.

    By the exact ratio of both rates in lowest terms, through a low-pass filter (`scipy.signal.resample_poly`: Kaiser
    window of beta 5, ten zero crossings of the slower rate a side).
    """
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, to)
    return resample_poly(samples, to // divisor, rate // divisor)


def fitted(samples: np.ndarray, length: int, place: Place) -> np.ndarray:
    """Samples [T] cut, or with zeros added, to `length` of them, as `Sound` says."""
    excess = len(samples) - length
    before = abs(excess) // 2 if place == "centre" else 0
    if excess >= 0:
        return samples[before : before + length]
    return np.pad(samples, (before, -excess - before))
