"""Resizing and affine resampling of one image, with boxes and matrices that may be traced: JAX functions.

A pixel's centre stands half a pixel inside its edges, as in Pillow, PyTorch and OpenCV.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax.data.augment import boxes
from cnnjax.data.augment.boxes import Box
from cnnjax.data.augment.pixels import in_float32
from cnnjax.errors import ConfigError


@in_float32
def crop_and_resize(
    image: jax.Array, box: Box, *, size: tuple[int, int], method: str = "bilinear", antialias: bool = True
) -> jax.Array:
    """Resize a box of an image [H, W, C] to `size` (height, width). Nothing outside the box is looked at.

    As torch.nn.functional.interpolate(align_corners=False) of the cut-out box, clipped to 0..1 if bicubic, which
    overshoots.
    """
    height, width, _ = image.shape
    rows = _weights(box.top, box.height, height, size[0], method, antialias)
    columns = _weights(box.left, box.width, width, size[1], method, antialias)
    # On a GPU the default precision would round pixels to TensorFloat-32.
    resized = jnp.einsum("hH,HWc,wW->hwc", rows, image, columns, precision=jax.lax.Precision.HIGHEST)
    return jnp.clip(resized, 0, 1) if method == "bicubic" else resized


def resize(image: jax.Array, size: tuple[int, int], *, method: str = "bilinear", antialias: bool = True) -> jax.Array:
    """Resize an image [H, W, C] to `size` (height, width)."""
    height, width, _ = image.shape
    return crop_and_resize(image, Box(0, 0, height, width), size=size, method=method, antialias=antialias)


@in_float32
def resize_into(image: jax.Array, box: Box, *, fill: float | tuple[float, ...] = 0.0) -> jax.Array:
    """The image [H, W, C] resized to the height and width of a box and laid where it stands in one of [H, W, C].

    Bilinear, antialiased where it gets smaller; of a box that is larger than the image, or stands partly outside, what
    is within. fill: the value beside the box, one or one a channel; of any other number of values a ConfigError.
    """
    height, width, _ = image.shape
    beside = filled_with(fill, image)
    rows, columns = _laid(box.top, box.height, height), _laid(box.left, box.width, width)
    # On a GPU the default precision would round pixels to TensorFloat-32.
    resized = jnp.einsum("hH,HWc,wW->hwc", rows, image, columns, precision=jax.lax.Precision.HIGHEST)
    return jnp.where(boxes.inside(box, height, width), resized, beside)


def filled_with(fill: float | tuple[float, ...], image: jax.Array) -> jax.Array:
    """`fill`, one value or one a channel, as [1, 1, 1] or [1, 1, C] of the image's type; else a ConfigError."""
    values = jnp.asarray(fill, image.dtype).reshape(1, 1, -1)
    if values.size not in (1, image.shape[-1]):
        raise ConfigError(
            f"augment: fill = {fill}: {values.size} values, but the images have {image.shape[-1]} channels",
            path="augment",
        )
    return values


def _laid(start: jax.Array | int, length: jax.Array | int, size: int) -> jax.Array:
    """What each of `size` pixels adds to each of as many once they are resized to `length` from `start`: [size, size].

    Only where the resized ones lie does it mean anything.
    """
    scale = size / jnp.asarray(length, jnp.float32)
    # In whole numbers before it is multiplied, so that places are as exact however far the box reaches.
    places = (2 * (jnp.arange(size) - start) + 1).astype(jnp.float32)
    centres = jnp.clip(places * scale / 2 - 0.5, -0.5, size - 0.5)[:, None]
    pixels = jnp.arange(size, dtype=jnp.float32)[None]
    weights = _kernel(jnp.abs(centres - pixels) / jnp.maximum(scale, 1.0), "bilinear", a=0.0)
    return weights / weights.sum(1, keepdims=True)


def _weights(
    start: jax.Array | int, length: jax.Array | int, size: int, outputs: int, method: str, antialias: bool
) -> jax.Array:
    """What each of `size` pixels adds to each output, if `length` pixels from `start` are resized: [outputs, size]."""
    scale = length / outputs
    start, last = jnp.asarray(start, jnp.float32), jnp.asarray(start + length - 1, jnp.float32)
    centres = ((jnp.arange(outputs, dtype=jnp.float32) + 0.5) * scale - 0.5 + start)[:, None]
    pixels = jnp.arange(size, dtype=jnp.float32)
    if antialias:
        distances = jnp.abs(centres - pixels[None]) / jnp.maximum(scale, 1.0)
        inside = (pixels >= start) & (pixels <= last)
        weights = _kernel(distances, method, a=-0.5) * inside[None].astype(jnp.float32)
        return weights / weights.sum(1, keepdims=True)
    taps = jnp.floor(centres) + jnp.arange(-1, 3, dtype=jnp.float32)[None]
    weights = _kernel(jnp.abs(centres - taps), method, a=-0.75)
    nearest = jnp.clip(taps, start, last)[..., None]
    return jnp.where(nearest == pixels[None, None], weights[..., None], 0).sum(1)


def _kernel(distance: jax.Array, method: str, *, a: float) -> jax.Array:
    """The triangle, or Keys' cubic kernel (1981) with its parameter a."""
    if method == "bilinear":
        return jnp.maximum(1 - distance, 0)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))


def affine(
    image: jax.Array, matrix: jax.Array, *, interpolation: str = "nearest", fill: float | tuple[float, ...] = 0.0
) -> jax.Array:
    """The image [H, W, C] whose pixel (x, y) is taken from `matrix` [2, 3] times (x, y, 1).

    Coordinates are in pixels from the image's centre, x to the right and y down. interpolation: "nearest" or
    "bilinear", which fade into what is outside at the border, or "bicubic", which does not, with Keys' kernel of a = -1
    and clipped to 0..1, as in Pillow. fill: the value outside the image, one or one a channel; of any other number of
    values a ConfigError.
    """
    height, width, channels = image.shape
    outside = filled_with(fill, image)
    places = [jnp.arange(length, dtype=jnp.float32) - (length - 1) / 2 for length in (height, width)]
    y, x = jnp.meshgrid(*places, indexing="ij")
    columns = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + (width - 1) / 2
    rows = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + (height - 1) / 2
    flat = image.reshape(height * width, channels)

    def taken(row: jax.Array, column: jax.Array) -> jax.Array:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        position = jnp.where(inside, row * width + column, 0).astype(jnp.int32)
        return jnp.where(inside[..., None], flat.at[position].get(mode="promise_in_bounds"), outside)

    if interpolation == "nearest":
        return taken(jnp.round(rows), jnp.round(columns))
    if interpolation == "bicubic":
        return _bicubic(image, rows, columns, outside)
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    above = (1 - right) * taken(top, left) + right * taken(top, left + 1)
    below = (1 - right) * taken(top + 1, left) + right * taken(top + 1, left + 1)
    return (1 - down) * above + down * below


def _bicubic(image: jax.Array, rows: jax.Array, columns: jax.Array, outside: jax.Array) -> jax.Array:
    """The image [H, W, C] at these places; its outermost pixels stand for those that are needed beyond its border."""
    height, width, channels = image.shape
    flat = image.reshape(height * width, channels)
    taps = jnp.arange(-1, 3, dtype=jnp.float32)[None, None]
    row_taps, column_taps = jnp.floor(rows)[..., None] + taps, jnp.floor(columns)[..., None] + taps
    row_weights = _kernel(jnp.abs(rows[..., None] - row_taps), "bicubic", a=-1.0)
    column_weights = _kernel(jnp.abs(columns[..., None] - column_taps), "bicubic", a=-1.0)
    total = jnp.zeros_like(image)
    for i in range(4):
        for j in range(4):
            row = jnp.clip(row_taps[..., i], 0, height - 1)
            column = jnp.clip(column_taps[..., j], 0, width - 1)
            pixel = flat.at[(row * width + column).astype(jnp.int32)].get(mode="promise_in_bounds")
            total += (row_weights[..., i] * column_weights[..., j])[..., None] * pixel
    inside = (rows >= -0.5) & (rows < height - 0.5) & (columns >= -0.5) & (columns < width - 0.5)
    return jnp.where(inside[..., None], jnp.clip(total, 0, 1), outside)
