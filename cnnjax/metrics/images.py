"""Metrics of images that were predicted, as sums over images: peak signal-to-noise ratio and structural similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import DataError, ShapeError
from cnnjax.records.resolved import Specification

LEAST_ERROR = 1e-10
"""A mean squared error counts as at least this, so that an image without error has 100 dB."""
SIGMA, RADIUS = 1.5, 5
"""Of the Gaussian window of SSIM, in pixels: 11 x 11."""
FLAT = 7
"""Pixels a side of SSIM's window at most, where the Gaussian one does not fit."""
LUMINANCE, CONTRAST = 0.01**2, 0.03**2
"""C1 and C2 of SSIM, for numbers in 0..1."""


def image_specifications(*, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured of predicted images, the most important first. loss_unit: the loss's own (`Loss.unit`)."""
    return (
        Specification(name="psnr", label="PSNR", total="psnr", unit="dB", higher_is_better=True, printed=".2f"),
        Specification(name="ssim", label="SSIM", total="ssim", unit="", higher_is_better=True, printed=".4f"),
        Specification(name="loss", total="loss", unit=loss_unit, higher_is_better=False, printed=".4f"),
    )


def measure_images(
    images: jax.Array,
    *,
    truth: jax.Array,
    valid: jax.Array,
    losses: jax.Array,
    detail: bool = True,
    others: Mapping[str, jax.Array] | None = None,
) -> dict[str, jax.Array]:
    """The sums of one batch of images: count (exact), loss, psnr and, with `detail`, ssim and the `others`.

    images, truth: [B, H, W, C] in 0..1. valid: [B], False for padding, which then adds nothing, whatever it holds.
    losses, others: [B] each. Raises ShapeError where images and truth do not fit.
    """
    if images.shape != truth.shape:
        raise ShapeError(f"metrics: images of shape {images.shape} do not fit those of shape {truth.shape}")
    valid = valid.astype(bool)
    each = {"loss": losses, "psnr": psnr(images, truth)}
    if detail:
        each |= {"ssim": ssim(images, truth), **(others or {})}
    sums = {name: jnp.sum(jnp.where(valid, value.astype(jnp.float32), 0.0)) for name, value in each.items()}
    return {"count": jnp.sum(valid, dtype=jnp.int32), **sums}


def summarize_images(sums: Mapping[str, Any]) -> dict[str, Any]:
    """What the `sums` of a whole data set mean: count, and the mean over images of all else, as plain numbers.

    Raises DataError if no example was measured.
    """
    count = int(np.asarray(sums["count"]))
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    return {"count": count} | {name: float(np.asarray(sums[name])) / count for name in sums if name != "count"}


def psnr(images: jax.Array, truth: jax.Array) -> jax.Array:
    """-10 log10 of the mean squared error of each image, in decibels, float32 [B]; of [B, H, W, C] in 0..1.

    scikit-image's `peak_signal_noise_ratio` with data_range=1; an image without error has 100 dB, not infinitely many.
    """
    difference = images.astype(jnp.float32) - truth.astype(jnp.float32)
    error = jnp.mean(jnp.square(difference), axis=(1, 2, 3))
    return -10 * jnp.log10(jnp.maximum(error, LEAST_ERROR))


def ssim(images: jax.Array, truth: jax.Array) -> jax.Array:
    """Structural similarity of each image, float32 [B], of [B, H, W, C] in 0..1: the mean over places and channels.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861): a Gaussian window of 11 x 11 with a deviation of 1.5, C1 = 0.01^2
    and C2 = 0.03^2, at the places where the window lies in the image. That is scikit-image's `structural_similarity`
    with gaussian_weights=True, use_sample_covariance=False, data_range=1. Where a side is shorter than 11, the window
    is a flat one of 7 x 7, or of the largest odd number that fits (win_size there, without gaussian_weights).
    """
    x, y = images.astype(jnp.float32), truth.astype(jnp.float32)
    window = _window(min(x.shape[1:3]))

    def mean(maps: jax.Array) -> jax.Array:
        return _along(_along(maps, window, axis=1), window, axis=2)

    # Squares of what is near 0 lose less when they are taken from each other.
    centre_x, centre_y = (maps.mean((1, 2), keepdims=True) for maps in (x, y))
    x, y = x - centre_x, y - centre_y
    off_x, off_y = mean(x), mean(y)
    variances = mean(x * x) - off_x**2 + mean(y * y) - off_y**2
    covariance = mean(x * y) - off_x * off_y
    mean_x, mean_y = off_x + centre_x, off_y + centre_y
    luminance = (2 * mean_x * mean_y + LUMINANCE) / (mean_x**2 + mean_y**2 + LUMINANCE)
    return jnp.mean(luminance * (2 * covariance + CONTRAST) / (variances + CONTRAST), axis=(1, 2, 3))


def _window(side: int) -> np.ndarray:
    """The weights of the window along one axis, for images whose shorter side is that long."""
    if side > 2 * RADIUS:
        weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    else:
        weights = np.ones(min(FLAT, side - (side + 1) % 2))
    return (weights / weights.sum()).astype(np.float32)


def _along(maps: jax.Array, window: np.ndarray, *, axis: int) -> jax.Array:
    """The weighted means of windows that lie within the maps."""
    places = maps.shape[axis] - len(window) + 1
    shifted = (jax.lax.slice_in_dim(maps, start, start + places, axis=axis) for start in range(len(window)))
    return jnp.asarray(sum(float(weight) * part for weight, part in zip(window, shifted, strict=True)))
