"""Convolutions as matrix products: of the input's windows with the kernel, in a few arrangements.

Each function takes NHWC maps, an HWIO kernel and the `Geometry`, and computes what `lax.conv_general_dilated` or one of
its gradients does. Which arrangement is quickest is decided elsewhere (cnnjax.nn.lowering_rules).

Windows are gathered along the width first, then whole rows are stacked: on XLA:CPU half the time of slices put side by
side. Barriers keep it from computing padding and windows again for each number that it copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import product
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.nn.accumulation import accumulation_dtype, widened
from cnnjax.nn.geometry import Geometry, Pair
from cnnjax.nn.mesh import varying_alike

Forward = Callable[[jax.Array, jax.Array, Geometry], jax.Array]
BLOCK_BYTES = 8e6
_barrier = lax.optimization_barrier


# --- output


def by_patches(x: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    """One product: every window, (batch * places, height * width * channels), with the kernel as a matrix."""
    patches = _patches(x, g)
    return _matmul(patches, kernel.reshape(-1, *kernel.shape[2:]), g.groups)


def by_taps(x: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    """A product a kernel position, added up: of the input shifted with a matrix (channels, features).

    Where each group has one channel and one feature, of elements.
    """

    def sums(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return reduce(jnp.add, (_matmul(tap[..., None, :], kernel[i, j, None], g.groups) for i, j, tap in _taps(x, g)))

    return _apart(sums, x, kernel)


def _apart(function: Callable[..., jax.Array], *operands: jax.Array) -> jax.Array:
    """The function's value, computed in a branch, for XLA:CPU fuses nothing that follows into one.

    Fused with a following tanh or GELU, which its compiler does not vectorize, sums take ten times as long.
    """

    def never(*operands: jax.Array) -> jax.Array:
        like = jax.eval_shape(function, *operands)
        return varying_alike(jnp.zeros(like.shape, like.dtype), operands[0])

    # The barrier hides that there is no choice until branches have been simplified.
    return lax.cond(_barrier(jnp.array(True)), function, never, *operands)


# --- gradient with respect to the input


def input_gradient(y: jax.Array, kernel: jax.Array, g: Geometry, *, forward: Forward) -> jax.Array:
    """From the output's cotangent, as convolutions in steps of 1 that `forward` computes, one a phase.

    Input positions that leave the same rest divided by the strides meet the same part of the kernel: each of these
    phases is y convolved with that part, flipped. Wants strides of 1 on an axis that is dilated.
    """
    if g.is_dense and g.groups == 1:
        flat = jnp.matmul(
            y[:, 0, 0], kernel.reshape(-1, kernel.shape[3]).T, preferred_element_type=accumulation_dtype(y)
        )
        return flat.reshape(len(y), *g.size, -1)
    axes = [_phases(*axis) for axis in zip(g.size, g.kernel, g.strides, g.padding, g.dilation, strict=True)]
    kernel = transposed_kernel(kernel, g.groups)
    phases = []
    for vertical, horizontal in product(*axes):
        part = kernel[vertical.taps, horizontal.taps][::-1, ::-1]
        if 0 in part.shape or 0 in (vertical.positions, horizontal.positions):
            phases.append(jnp.zeros((len(y), vertical.positions, horizontal.positions, kernel.shape[3]), y.dtype))
            continue
        size, taps = g.output, (part.shape[0], part.shape[1])
        padding = (
            vertical.padding(size[0], taps[0], g.dilation[0]),
            horizontal.padding(size[1], taps[1], g.dilation[1]),
        )
        phases.append(forward(y, part, Geometry(size, taps, (1, 1), padding, g.dilation, g.groups)))
    return _interleaved(phases, g)


class _Phase(NamedTuple):
    """The input positions `first`, `first + stride`, ... along one axis: which kernel positions reach them."""

    taps: slice
    start: int  # the position of the first one in steps of the stride, counted in the padded input
    positions: int

    def padding(self, size: int, taps: int, dilation: int) -> Pair:
        """Of y, so that correlating it with the flipped taps starts at `start`; negative cuts."""
        before = (taps - 1) * dilation - self.start
        return before, self.positions + (taps - 1) * dilation - size - before


def _phases(size: int, taps: int, stride: int, padding: Pair, dilation: int) -> list[_Phase]:
    phases = []
    for first in range(stride):
        rest = (first + padding[0]) % stride
        count = max(0, -(-(size - first) // stride))
        taken = slice(None) if dilation > 1 else slice(rest, None, stride)
        phases.append(_Phase(taken, (first + padding[0]) // stride, count))
    return phases


def _interleaved(phases: Sequence[jax.Array], g: Geometry) -> jax.Array:
    """Phases in row-major order, (batch, rows / stride, columns / stride, channels) each, as the map they are of."""
    if len(phases) == 1:
        return phases[0]
    rows, columns = (-(-n // s) for n, s in zip(g.size, g.strides, strict=True))
    batch, channels = phases[0].shape[0], phases[0].shape[-1]
    whole = [lax.pad(x, jnp.zeros((), x.dtype), _after(0, rows - x.shape[1], columns - x.shape[2])) for x in phases]
    grid = [jnp.stack(whole[i : i + g.strides[1]], 3) for i in range(0, len(whole), g.strides[1])]
    joined = jnp.stack(grid, 2).reshape(batch, rows * g.strides[0], columns * g.strides[1], channels)
    return joined[:, : g.size[0], : g.size[1]]


def _after(*counts: int) -> list[tuple[int, int, int]]:
    return [(0, count, 0) for count in (*counts, 0)]


def transposed_kernel(kernel: jax.Array, groups: int) -> jax.Array:
    """Inputs and outputs exchanged: (h, w, channels / groups, features) -> (h, w, features / groups, channels)."""
    height, width, inputs, features = kernel.shape
    split = kernel.reshape(height, width, inputs, groups, features // groups)
    return split.transpose(0, 1, 4, 3, 2).reshape(height, width, features // groups, groups * inputs)


# --- gradient with respect to the kernel


def kernel_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    """The product of windows with y, summed over all places, in blocks of the batch whose windows fit a cache."""
    if (blocks := _blocks(x, g)) == 1:
        return _kernel_sums(x, y, g).astype(x.dtype)
    # Images b, b + blocks, ... make block b: a batch that is split over devices stays where it is.
    x, y = (array.reshape(-1, blocks, *array.shape[1:]) for array in (x, y))

    def add(b: jax.Array, sums: jax.Array) -> jax.Array:
        part_x, part_y = (lax.dynamic_index_in_dim(array, b, 1, keepdims=False) for array in (x, y))
        return sums + _kernel_sums(part_x, part_y, g)

    shape = (*g.kernel, x.shape[-1] // g.groups, y.shape[-1])
    none = varying_alike(jnp.zeros(shape, accumulation_dtype(x)), x)
    return lax.fori_loop(0, blocks, add, none).astype(x.dtype)


def _blocks(x: jax.Array, g: Geometry) -> int:
    """Into how many equal parts of the batch."""
    if g.is_pointwise or g.is_dense:
        return 1
    window = prod(g.kernel) * x.shape[-1] * x.dtype.itemsize
    wanted = len(x) * prod(g.output) * window / BLOCK_BYTES
    return next(n for n in range(1, len(x) + 1) if len(x) % n == 0 and (n >= wanted or n == len(x)))


def _kernel_sums(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    windows = _patches(x, g)
    if g.groups > 1:
        return _grouped_sums(windows, y, g)
    sums = _over_places(windows.reshape(-1, prod(windows.shape[3:])), y.reshape(-1, y.shape[-1]))
    return sums.reshape(*g.kernel, x.shape[-1], y.shape[-1])


def kernel_gradient_by_taps(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    """A product of the input shifted with y for each kernel position; of elements where groups are single channels."""
    if g.groups == 1:
        flat = y.reshape(-1, y.shape[-1])
        taps = [_over_places(tap.reshape(-1, tap.shape[-1]), flat) for *_, tap in _taps(x, g)]
    else:
        taps = [_grouped_sums(tap[..., None, :], y, g) for *_, tap in _taps(x, g)]
    return jnp.stack(taps).reshape(*g.kernel, -1, y.shape[-1]).astype(x.dtype)


def _grouped_sums(windows: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    """Windows (..., height, width, channels) with y (..., features): as the kernel."""
    shape = windows.shape[3:-1]
    windows = windows.reshape(-1, prod(shape), g.groups, windows.shape[-1] // g.groups)
    y = y.reshape(len(windows), g.groups, -1)
    if windows.shape[-1] == y.shape[-1] == 1:
        sums = jnp.sum(widened(windows[..., 0]) * widened(y[:, None, :, 0]), 0)
    else:
        sums = jnp.einsum("mtgc,mgf->tcgf", windows, y, preferred_element_type=accumulation_dtype(y))
    return sums.reshape(*shape, windows.shape[-1], -1)


def _over_places(x: jax.Array, y: jax.Array) -> jax.Array:
    """x^T y. XLA:CPU is up to twice as fast if the first factor is the narrower one."""

    def dot(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.dot_general(a, b, (((0,), (0,)), ((), ())), preferred_element_type=accumulation_dtype(a))

    # Without the barrier the transpose of a product would become the product the other way round.
    return dot(x, y) if x.shape[1] <= y.shape[1] else _barrier(dot(y, x)).T


# --- windows


def _patches(x: jax.Array, g: Geometry) -> jax.Array:
    """(batch, rows, columns, height, width, channels), each place's window."""
    if g.is_dense:
        return x[:, None, None]
    if g.is_pointwise:
        return x[:, :: g.strides[0], :: g.strides[1], None, None]
    windows = _columns(_padded(x, g), g)
    return jnp.stack([_row(windows, i, g) for i in range(g.kernel[0])], 3)


def _padded(x: jax.Array, g: Geometry) -> jax.Array:
    if g.padding == ((0, 0), (0, 0)):
        return x
    pads = [(0, 0, 0), *((*pair, 0) for pair in g.padding), (0, 0, 0)]
    return _barrier(lax.pad(x, jnp.zeros((), x.dtype), pads))


def _columns(x: jax.Array, g: Geometry) -> jax.Array:
    """Windows along the width: (batch, height, width, channels) -> (batch, height, columns, kernel width, channels)."""
    if g.kernel[1] == 1:
        return x[:, :, : (g.output[1] - 1) * g.strides[1] + 1 : g.strides[1], None]
    index = np.arange(g.output[1])[:, None] * g.strides[1] + np.arange(g.kernel[1]) * g.dilation[1]
    return _barrier(x.at[:, :, index].get(mode="promise_in_bounds"))


def _row(x: jax.Array, i: int, g: Geometry) -> jax.Array:
    """Of each output row, the input row that the kernel's row i meets."""
    first = i * g.dilation[0]
    return x[:, first : first + (g.output[0] - 1) * g.strides[0] + 1 : g.strides[0]]


def _taps(x: jax.Array, g: Geometry) -> Iterator[tuple[int, int, jax.Array]]:
    """(row, column, the input that this position of the kernel meets at each place)."""
    padded = _padded(x, g)
    for i, j in product(*map(range, g.kernel)):
        first = j * g.dilation[1]
        yield i, j, _row(padded, i, g)[:, :, first : first + (g.output[1] - 1) * g.strides[1] + 1 : g.strides[1]]


# --- products


def _matmul(windows: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """(batch, rows, columns, ..., channels) with (taps, channels / groups, features) -> maps of the features."""
    places, channels = windows.shape[:3], windows.shape[-1]
    taps, inputs, features = kernel.shape
    if groups == 1:
        flat = windows.reshape(-1, taps * channels)
        y = jnp.matmul(flat, kernel.reshape(-1, features), preferred_element_type=accumulation_dtype(flat))
    elif inputs == 1 and features == groups:
        taps_last = windows.reshape(*places, taps, channels)
        terms = (widened(taps_last[..., t, :]) * widened(kernel[t].reshape(1, 1, 1, -1)) for t in range(taps))
        return reduce(jnp.add, terms)
    else:
        split = windows.reshape(-1, taps, groups, inputs)
        kernel = kernel.reshape(taps, inputs, groups, -1)
        y = jnp.einsum("mtgc,tcgf->mgf", split, kernel, preferred_element_type=accumulation_dtype(split))
    return y.reshape(*places, features)
