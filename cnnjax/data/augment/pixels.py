"""Changes of the colours of one image, float [H, W, C] in 0..1, by amounts that may be traced: JAX functions.

They are torchvision's on float images, but where their docstrings say otherwise. Colours need 1 or 3 channels; a grey
image has no saturation and no hue to change.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError

# ITU-R 601; torchvision writes 0.2989 for the first, and so makes white 0.9999.
_LUMINANCE = (0.299, 0.587, 0.114)
LEVELS = 255


def in_float32(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The function computing in float32, whatever its image's type, which it returns."""

    @functools.wraps(function)
    def wrapped(image: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        return function(jnp.asarray(image, jnp.float32), *args, **kwargs).astype(image.dtype)

    return wrapped


def check_colors(image: jax.Array) -> None:
    """Raise ConfigError for other than 1 or 3 channels."""
    if image.shape[-1] not in (1, 3):
        raise ConfigError(f"changing colours takes 1 or 3 channels; the images have {image.shape[-1]}")


def grey(image: jax.Array) -> jax.Array:
    """Luminance [H, W, 1]. Raises ConfigError for other than 1 or 3 channels."""
    check_colors(image)
    if image.shape[-1] == 1:
        return image
    red, green, blue = (image[..., c : c + 1] for c in range(3))
    return _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue


def mean_grey(image: jax.Array) -> jax.Array:
    """Mean luminance [1, 1, 1]; Pillow rounds it to a level."""
    return grey(image).mean((0, 1), keepdims=True)


def blend(image: jax.Array, other: jax.Array | float, factor: jax.Array) -> jax.Array:
    """`other` for factor 0, the image for 1, beyond it above; clipped to 0..1."""
    return jnp.clip(factor * image + (1 - factor) * other, 0, 1)


def smooth(image: jax.Array) -> jax.Array:
    """Each pixel averaged with its eight neighbours, itself weighted five times; the outermost pixels are kept."""
    height, width, _ = image.shape
    if height < 3 or width < 3:
        return image
    rows = image[:-2] + image[1:-1] + image[2:]
    box = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return image.at[1:-1, 1:-1].set((box + 4 * image[1:-1, 1:-1]) / 13)


def shift_hue(image: jax.Array, turn: jax.Array) -> jax.Array:
    """Turn the hue by `turn` of a full circle (-0.5..0.5), through HSV."""
    grey(image)
    if image.shape[-1] == 1:
        return image
    hue, saturation, value = _hsv(image)
    sixths = (6 * (hue + turn))[..., None] + jnp.array([5.0, 3.0, 1.0])[None, None]
    # Not %, which is a slow function call for each value.
    sixths = sixths - 6 * jnp.floor(sixths / 6)
    away = jnp.clip(jnp.minimum(sixths, 4 - sixths), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * away)


def _hsv(image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Hue in full circles (-1/6..5/6), saturation and value, each [H, W]."""
    red, green, blue = (image[..., c] for c in range(3))
    value = image.max(-1)
    spread = value - image.min(-1)
    divisor = jnp.where(spread == 0, 1, spread)
    hue = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    return hue / 6, spread / jnp.where(value == 0, 1, value), value


def autocontrast(image: jax.Array) -> jax.Array:
    """Stretch each channel to 0..1; a channel of one value is kept."""
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    flat = high == low
    return jnp.clip((image - jnp.where(flat, 0, low)) / jnp.where(flat, 1, high - low), 0, 1)


def solarize(image: jax.Array, threshold: jax.Array) -> jax.Array:
    """Invert the values that are at least `threshold` (0..1)."""
    return jnp.where(image >= threshold, 1 - image, image)


def posterize(image: jax.Array, bits: jax.Array) -> jax.Array:
    """Keep the `bits` (0..8) highest bits of each value's 8-bit level, as on uint8 images."""
    dropped = (8 - jnp.clip(bits, 0, 8)).astype(jnp.int32)
    return ((_levels(image) >> dropped) << dropped) / LEVELS


def solarize_add(image: jax.Array, addition: jax.Array) -> jax.Array:
    """Add to the values below 128 of 255, up to 1."""
    return jnp.where(image < 128 / LEVELS, jnp.minimum(image + addition, 1), image)


def equalize(image: jax.Array) -> jax.Array:
    """Spread the 8-bit levels of each channel evenly, by Pillow's rule: images below 256 pixels are kept.

    Values between levels are rounded to one first (torchvision's float images to the one below).
    """
    height, width, channels = image.shape
    levels = _levels(image).reshape(height * width, channels)
    return jax.vmap(_equalize_channel, in_axes=1, out_axes=1)(levels, image.reshape(levels.shape)).reshape(image.shape)


def _equalize_channel(levels: jax.Array, values: jax.Array) -> jax.Array:
    counts = jnp.zeros(LEVELS + 1, jnp.int32).at[levels].add(1, mode="promise_in_bounds")
    step = (levels.size - counts[levels.max()]) // LEVELS
    below = (jnp.cumsum(counts) - counts).at[levels].get(mode="promise_in_bounds")
    # Integer division, which is slow where it is vectorized; the half keeps it exact below two million pixels.
    quotient = jnp.floor(((below + step // 2).astype(jnp.float32) + 0.5) / jnp.maximum(step, 1).astype(jnp.float32))
    return jnp.where(step == 0, values, jnp.minimum(quotient, LEVELS) / LEVELS)


def _levels(image: jax.Array) -> jax.Array:
    return jnp.clip(jnp.round(image * LEVELS), 0, LEVELS).astype(jnp.int32)


def gaussian_blur(image: jax.Array, sigma: jax.Array, kernel_size: int) -> jax.Array:
    """Blur with a Gaussian of `sigma` pixels cut off at `kernel_size` (odd) pixels; the border is reflected."""
    offsets = jnp.arange(kernel_size, dtype=jnp.float32) - kernel_size // 2
    weights = jnp.exp(-((offsets / sigma) ** 2) / 2)
    weights = weights / weights.sum()
    return _filtered(_filtered(image, weights, axis=0), weights, axis=1)


def _filtered(image: jax.Array, weights: jax.Array, *, axis: int) -> jax.Array:
    (taps,), length = weights.shape, image.shape[axis]
    padded = jnp.pad(image, [(taps // 2,) * 2 if a == axis else (0, 0) for a in range(3)], mode="reflect")
    windows = jnp.stack([jax.lax.slice_in_dim(padded, at, at + length, axis=axis) for at in range(taps)])
    return jnp.tensordot(weights, windows, 1, precision=jax.lax.Precision.HIGHEST)
