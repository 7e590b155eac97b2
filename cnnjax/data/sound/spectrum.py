"""The short-time Fourier transform and what is made of it, as JAX functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax.data.sound.framing import Taper, frame_count, taper_of


def framed(x: jax.Array, *, window: int, hop: int, centred: bool) -> jax.Array:
    """Frames [..., F, window] of samples [..., T], `hop` apart.

    centred: the middle of frame t (sample `window` // 2 of it) is sample t * hop, and there are zeros before the first
    and after the last sample; else frame t begins with sample t * hop, and only whole frames are taken.
    """
    count = frame_count(x.shape[-1], window=window, hop=hop, centred=centred)
    # A frame is as many blocks of `hop` samples as hold it, of which the last is cut: slices, and no gather.
    blocks = -(-window // hop)
    before = window // 2 if centred else 0
    after = (count + blocks - 1) * hop - before - x.shape[-1]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, max(0, after))])[..., : (count + blocks - 1) * hop]
    x = x.reshape(*x.shape[:-1], -1, hop)
    return jnp.concatenate([x[..., k : k + count, :] for k in range(blocks)], axis=-1)[..., :window]


def stft(x: jax.Array, *, window: int, hop: int, fft: int, taper: Taper = "hann", centred: bool = True) -> jax.Array:
    """The short-time Fourier transform, complex [..., F, fft // 2 + 1], of real samples [..., T].

    Frames (`framed`) times the taper, zeros after them up to `fft` samples, and their discrete Fourier transform: of
    frame t, bin k, the sum over n of x[n] w[n] exp(-2 pi i k n / fft), where n = 0 is the frame's first sample.
    """
    frames = framed(x, window=window, hop=hop, centred=centred)
    weights = jnp.asarray(taper_of(taper, window), x.dtype)
    return jnp.fft.rfft(frames * weights.reshape(*(1,) * (frames.ndim - 1), window), n=fft)


def power(x: jax.Array, *, window: int, hop: int, fft: int, taper: Taper = "hann", centred: bool = True) -> jax.Array:
    """The power spectrogram, real [..., F, fft // 2 + 1], scaled so that a sine of amplitude 1 at a bin has power 1.

    |STFT|^2 times (2 / sum of the taper)^2.
    """
    spectrum = stft(x, window=window, hop=hop, fft=fft, taper=taper, centred=centred)
    scale = (2 / taper_of(taper, window).sum()) ** 2
    return (jnp.square(spectrum.real) + jnp.square(spectrum.imag)) * jnp.asarray(scale, x.dtype)


def decibels(power: jax.Array, *, floor: float) -> jax.Array:
    """10 log10 of a power, and what is below `floor` decibels as that."""
    return 10 * jnp.log10(jnp.maximum(power, 10 ** (floor / 10)))


def as_image(power: jax.Array, *, floor: float) -> jax.Array:
    """Images [..., bands, F, 1] in 0..1 of powers [..., F, bands]: `floor` decibels are 0, 0 decibels and more 1.

    Time goes to the right, and the lowest band is the last row, as spectrograms are drawn.
    """
    level = jnp.clip(1 - decibels(power, floor=floor) / floor, 0, 1)
    return jnp.flip(jnp.swapaxes(level, -1, -2), -2)[..., None]
