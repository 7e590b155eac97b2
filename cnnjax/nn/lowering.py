"""Which lowering a convolution and each of its gradients take on a CPU.

XLA's own way is the best there is on accelerators, and on CPUs for the common case, 3x3 kernels on large maps. XLA:CPU
falls far behind elsewhere, and there a matrix product (cnnjax.nn.products) takes its place. The rules rest on
benchmarks/convolution.csv; docs/convolution.md says how much each is worth.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import jax.numpy as jnp

from cnnjax.nn.products import Geometry

Wanted = Literal["output", "input", "kernel"]

NARROW = 32
"""Numbers in a window, or features, that are few."""

SMALL_MAP = 64
"""Places of an output up to which XLA:CPU's convolution is no quicker than windows copied and one product."""


def choose(wanted: Wanted, g: Geometry, channels: int, features: int, dtype: jnp.dtype) -> str:
    """The lowering on a CPU of a convolution ("output") or of its gradient for the "input" or "kernel"."""
    if dtype != jnp.float32:
        return "xla"  # In bfloat16 products are slower than that.
    if g.groups == channels == features > 1:
        return "taps"  # Depthwise: XLA's is up to 60 times slower.
    if wanted == "kernel":
        return "patches"  # XLA's is two to seven times slower for 1x1, two times for 3x3; grouped 80 times.
    if g.groups > 1:
        return "xla"
    if g.is_pointwise or g.is_dense:
        return "patches"  # No copies: a matrix product as it is.
    if wanted == "output" and channels == 1 and features <= NARROW:
        return "taps"  # Products of elements, in one loop.
    if wanted == "output" and channels * prod(g.kernel) <= NARROW:
        return "patches"  # XLA's is three times slower for the 3x3 windows of colour images.
    # XLA's fast way wants a kernel no larger than the map: without it, 100 times slower.
    return "patches" if prod(g.output) <= SMALL_MAP or not _fits(g) else "xla"


def _fits(g: Geometry) -> bool:
    return all(f <= n for f, n in zip(g.kernel, g.size, strict=True))
