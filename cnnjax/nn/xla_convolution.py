"""Convolutions as XLA's, written in the one form that XLA:CPU is quick at.

That is images (batch, height, width, channels), kernels (height, width, channels, features), padding that is not
negative. What JAX derives for a gradient names its axes in another order. XLA:CPU brings that into this form itself,
but not in the body of a loop: there it computes it one number after the other, a hundred times slower.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.nn.geometry import Geometry, Pair


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int = 1,
) -> jax.Array:
    """`lax.conv_general_dilated` of NHWC with HWIO; where padding is negative, the input is padded and cut before."""
    if min(map(min, padding)) < 0:
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)])
        padding = ((0, 0), (0, 0))
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def output(x: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    """The convolution itself."""
    return convolution(x, kernel, strides=g.strides, padding=g.padding, dilation=g.dilation, groups=g.groups)


def kernel_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    """The gradient for an ungrouped kernel, from the input x and the output's cotangent y.

    It is a convolution too: of x, with channels as its images and images as its channels, with y as the kernel. What
    was the stride is now the kernel's dilation, and the other way round.
    """
    axes = zip(g.size, g.kernel, g.strides, g.padding, g.dilation, g.output, strict=True)
    # So much at the end that there are as many results as the kernel has positions.
    rows, columns = ((p[0], (f - 1) * d + (m - 1) * s + 1 - n - p[0]) for n, f, s, p, d, m in axes)
    sums = convolution(
        x.transpose(3, 1, 2, 0),
        y.transpose(1, 2, 0, 3),
        strides=g.dilation,
        padding=(rows, columns),
        dilation=g.strides,
    )
    return sums.transpose(1, 2, 0, 3)
