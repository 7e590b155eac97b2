"""Convolutions as products of windows and kernels in the form that vmap makes batched matrix products of.

For lanes that each have a kernel of their own: to XLA such a convolution is one of as many groups, which GPUs are slow
at. Each function is of one lane, to be mapped.
"""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.nn.geometry import Geometry


def output(x: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    """The convolution of NHWC maps with an HWIO kernel that has no groups, in the dtype of x."""
    windows = _windows(x, g)
    flat = windows.reshape(-1, windows.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
    return flat.reshape(*windows.shape[:3], -1)


def input_gradient(y: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    """The gradient for the input, from the output's cotangent y."""
    flat = y.reshape(-1, y.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1]).T
    shape = (len(y), *g.size, kernel.shape[2])
    like = jax.ShapeDtypeStruct(shape, y.dtype)
    return jax.linear_transpose(lambda x: _windows(x, g), like)(flat.reshape(*y.shape[:3], -1))[0]


def kernel_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    """The gradient for the kernel, from the input x and the output's cotangent y."""
    windows = _windows(x, g)
    flat = windows.reshape(-1, windows.shape[-1]).T @ y.reshape(-1, y.shape[-1])
    return flat.reshape(*g.kernel, x.shape[-1], y.shape[-1])


def _windows(x: jax.Array, g: Geometry) -> jax.Array:
    """(batch, rows, columns, kernel height * kernel width * channels): each place's window."""
    pads = [(0, 0, 0), *((*pair, 0) for pair in g.padding), (0, 0, 0)]
    padded = lax.pad(x, jnp.zeros((), x.dtype), pads)
    ends = [(n - 1) * s + 1 for n, s in zip(g.output, g.strides, strict=True)]
    taps = []
    for i, j in product(*map(range, g.kernel)):
        row, column = i * g.dilation[0], j * g.dilation[1]
        taps.append(padded[:, row : row + ends[0] : g.strides[0], column : column + ends[1] : g.strides[1]])
    return taps[0] if prod(g.kernel) == 1 else jnp.concatenate(taps, axis=-1)
