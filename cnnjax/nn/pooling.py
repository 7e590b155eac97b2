"""Pooling of feature maps.

Windows are folded from strided slices of the input, one a window position, because XLA's `reduce_window` is slow on
CPU, its gradient most of all. Windows of more than nine positions go one axis after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from math import comb, prod
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.arithmetic import Extent, Padding, Pairs, per_axis, pool_padding, resolve_padding
from cnnjax.errors import ConfigError, unknown
from cnnjax.nn.accumulation import accumulation_dtype, widened
from cnnjax.nn.input_checks import check_images, located

Pair = tuple[int, ...]
KINDS = ("max", "average", "blur")
JOINT_POSITIONS = 9
MOST_POSITIONS = 10_000
"""Of a window along an axis: each is an operation of its own."""


class Pooling(nn.Module):
    """Pooling over windows: (batch, height, width, channels) -> (batch, height', width', channels), no parameters.

    "max" takes the largest value; where a window holds it more than once, the first in row-major order gets the whole
    gradient, as in PyTorch; padding never wins. "average" takes the mean. "blur" is a low-pass filter with binomial
    weights, 1 2 1 for a window of 3, to step through a map without aliasing (Zhang 2019, Making convolutional networks
    shift-invariant again). Sums are taken in float32 at least; the dtype is the input's.

    Raises ShapeError, led by the module's path, where the window does not fit its input, and ConfigError for a bad
    field, for instance padding as large as the window.

    Attributes:
        kind: "max", "average" or "blur".
        window: rows and columns of the window, or one number for both.
        strides: steps between windows, likewise; None is the window, so windows do not overlap.
        padding: "valid", "same", a count, or a count or (before, after) pair an axis.
        partial: keep the last window where it reaches beyond the padded input (PyTorch's ceil_mode).
        count_padding: whether padding counts as zeros in "average" and "blur". If not, the weights within the input
            are scaled to sum to 1. What a partial window reaches beyond the padding never counts.
    """

    layer_op: ClassVar[str] = "pool"
    kind: Literal["max", "average", "blur"]
    window: Extent = 2
    strides: Extent | None = None
    padding: Padding = "valid"
    partial: bool = False
    count_padding: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        sizes = x.shape[1:3]
        with located(self):
            check_images(x)
            if self.kind not in KINDS:
                raise ConfigError(unknown("kind of pooling", self.kind, KINDS))
            window = per_axis(self.window, name="window")
            strides = window if self.strides is None else per_axis(self.strides, name="strides")
            pads = pool_padding(sizes, window=window, strides=strides, padding=self.padding, partial=self.partial)
            padding = resolve_padding(self.padding, sizes, kernel=window, strides=strides)
            if max(window) > MOST_POSITIONS:
                raise ConfigError(
                    f"window {max(window):,}: at most {MOST_POSITIONS:,} rows or columns; pool globally, or in steps"
                )
        if self.kind == "max":
            return max_windows(_pad(x, pads, -jnp.inf), window, strides)
        weights = [_binomial(f) if self.kind == "blur" else (1,) * f for f in window]
        counted = padding if self.count_padding else ((0, 0), (0, 0))
        return _averages(x, weights, strides, pads, counted)


class GlobalPooling(nn.Module):
    """Pooling over the whole map: (batch, height, width, channels) -> (batch, channels), no parameters.

    The mean is taken in float32 at least. The first maximum in row-major order gets the whole gradient. Raises
    ShapeError, led by the module's path, where the input is not a batch of maps.

    Attributes:
        kind: "average" (Lin et al. 2014, Network in network) or "max".
    """

    layer_op: ClassVar[str] = "global_pool"
    kind: Literal["average", "max"]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_images(x)
            if self.kind not in ("average", "max"):
                raise ConfigError(unknown("kind of global pooling", self.kind, ("average", "max")))
        if self.kind == "average":
            return x.mean((1, 2), dtype=accumulation_dtype(x)).astype(x.dtype)
        return largest(x.reshape(x.shape[0], -1, x.shape[-1]), axis=1)


def largest(x: jax.Array, *, axis: int) -> jax.Array:
    """The maximum along an axis (0 or more), which it takes away; the first maximum gets the whole gradient.

    JAX's own gradient asks which numbers equal the maximum; where XLA computes x twice, rounded differently, none does,
    and the gradient is 0 / 0.
    """
    first = jnp.argmax(x, axis=axis, keepdims=True)
    chosen = lax.broadcasted_iota(first.dtype, x.shape, axis) == first
    return jnp.where(chosen, x, jnp.zeros((), x.dtype)).sum(axis)


# --- folds over windows


def max_windows(x: jax.Array, window: Pair, strides: Pair) -> jax.Array:
    """The maximum of each window that fits; the first in row-major order gets the gradient. NaN wins."""
    if min(window) == 1 or prod(window) <= JOINT_POSITIONS:
        return _max_windows(x, window, strides)
    # The first row that holds the maximum, then within it the first column: still row-major order.
    rows = _max_windows(x, (1, window[1]), (1, strides[1]))
    return _max_windows(rows, (window[0], 1), (strides[0], 1))


def _fold_max(x: jax.Array, window: Pair, strides: Pair) -> jax.Array:
    return reduce(jnp.maximum, _positions(x, window, strides))


def _fold_max_jvp(window: Pair, strides: Pair, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    first, *others = _positions(primals[0], window, strides)
    kind = jnp.uint8 if prod(window) <= 256 else jnp.int32
    largest, position = first, jnp.zeros(first.shape, kind)
    for index, value in enumerate(others, 1):
        position = jnp.where(value <= largest, position, kind(index))
        largest = jnp.maximum(largest, value)
    zero = jnp.zeros((), tangents[0].dtype)
    if window == strides:
        places = np.arange(prod(window), dtype=kind).reshape(1, 1, window[0], 1, window[1], 1)
        moves = jnp.where(position[:, :, None, :, None] == places, _tiles(tangents[0], window), zero)
        return _max_windows(primals[0], window, strides), moves.sum((2, 4))
    moves = enumerate(_positions(tangents[0], window, strides))
    moved = reduce(jnp.add, (jnp.where(position == index, move, zero) for index, move in moves))
    # Not `largest`: its own derivative gives equal numbers a share each.
    return _max_windows(primals[0], window, strides), moved


_max_windows = jax.custom_jvp(_fold_max, nondiff_argnums=(1, 2))
_max_windows.defjvp(_fold_max_jvp)


def sum_windows(x: jax.Array, weights: Sequence[Sequence[float]], strides: Pair) -> jax.Array:
    """The weighted sum of each window that fits; a position's weight is its row's times its column's."""
    window = (len(weights[0]), len(weights[1]))
    if window == strides and prod(window) <= JOINT_POSITIONS and {*weights[0], *weights[1]} == {1}:
        return _sum_tiles(x, window)
    if min(window) > 1 and prod(window) > JOINT_POSITIONS:
        rows = sum_windows(x, ((1,), weights[1]), (1, strides[1]))
        return sum_windows(rows, (weights[0], (1,)), (strides[0], 1))
    return _fold_sum(x, weights, strides)


def _fold_sum(x: jax.Array, weights: Sequence[Sequence[float]], strides: Pair) -> jax.Array:
    window = (len(weights[0]), len(weights[1]))
    scales = (row * column for row in weights[0] for column in weights[1])
    terms = zip(_positions(x, window, strides), scales, strict=True)
    return reduce(jnp.add, (value if scale == 1 else value * scale for value, scale in terms))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _sum_tiles(x: jax.Array, window: Pair) -> jax.Array:
    return _fold_sum(x, ((1,) * window[0], (1,) * window[1]), window)


@_sum_tiles.defjvp
def _sum_tiles_jvp(window: Pair, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (moved,) = primals, tangents
    return _sum_tiles(x, window), _tiles(moved, window).sum((2, 4))


def _tiles(x: jax.Array, window: Pair) -> jax.Array:
    """(batch, rows, height, columns, width, channels): windows side by side. A gradient goes through in one pass."""
    (rows, height), (columns, width) = ((n // f, f) for n, f in zip(x.shape[1:3], window, strict=True))
    return x[:, : rows * height, : columns * width].reshape(x.shape[0], rows, height, columns, width, x.shape[-1])


def _positions(x: jax.Array, window: Pair, strides: Pair) -> Iterator[jax.Array]:
    """For each window position in row-major order, what all windows have there."""
    rows, columns = ((n - f) // s * s + 1 for n, f, s in zip(x.shape[1:3], window, strides, strict=True))
    for i in range(window[0]):
        for j in range(window[1]):
            yield x[:, i : i + rows : strides[0], j : j + columns : strides[1]]


# --- averages


def _averages(x: jax.Array, weights: list[tuple[int, ...]], strides: Pair, pads: Pairs, counted: Pairs) -> jax.Array:
    """Weighted means whose weights sum to 1 over the input and the `counted` padding; `pads` are all that is padded."""
    sums = sum_windows(_pad(widened(x), pads, 0), weights, strides)
    axes = zip(x.shape[1:3], weights, strides, pads, counted, strict=True)
    rows, columns = (_weight_sums(*axis) for axis in axes)
    totals = np.outer(rows, columns)
    if (totals == totals[0, 0]).all():
        return (sums / float(totals[0, 0])).astype(x.dtype)
    return (sums * jnp.asarray(1 / totals[None, :, :, None], sums.dtype)).astype(x.dtype)


def _weight_sums(size: int, weights: tuple[int, ...], stride: int, pad: Pair, counted: Pair) -> np.ndarray:
    """Along one axis, the sum of the weights that fall on something that counts, for each window."""
    counts = np.zeros(pad[0] + size + pad[1])
    counts[pad[0] - counted[0] : pad[0] + size + counted[1]] = 1
    return np.correlate(counts, weights)[::stride]


def _binomial(size: int) -> tuple[int, ...]:
    """3 -> (1, 2, 1)."""
    return tuple(comb(size - 1, k) for k in range(size))


def _pad(x: jax.Array, pads: Pairs, value: float) -> jax.Array:
    if not any(map(any, pads)):
        return x
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)
