"""Which lowering a convolution and the gradient for its kernel take on a CPU.

XLA's own convolution (cnnjax.nn.xla_convolution) is quick there for large maps, if it is compiled without YNNPACK's
(cnnjax.run.compiling). It falls far behind where channels are in groups or kernels larger than their map: there, and
where they are less work, matrix products (cnnjax.nn.matrix_products) take its place. An input's gradient consists of
several convolutions; the lowering of each is chosen separately. The rules rest on benchmarks/convolution.csv;
docs/convolution.md says how much each is worth.
"""

from __future__ import annotations

from math import prod
from typing import Literal

from cnnjax.nn.geometry import Geometry, Pair

Wanted = Literal["output", "input", "kernel"]

NARROW = 32
"""Numbers in a window, or features, that are few."""


def choose(
    wanted: Literal["output", "kernel"],
    g: Geometry,
    channels: int,
    features: int,
    *,
    packed: bool = False,
) -> str:
    """The lowering on a CPU of a convolution ("output") or of its gradient for the "kernel".

    packed: whether it is one lane of many, each with a kernel of its own.
    """
    if g.groups == channels == features > 1:
        return "taps"  # Depthwise: XLA's is up to 60 times slower.
    if g.groups > 1:
        return "patches" if wanted == "kernel" else "direct"  # XLA's kernel gradient is 80 times slower.
    if g.is_pointwise or g.is_dense:
        return "patches"  # No copies: a matrix product as it is.
    if packed:
        return "patches"  # To XLA lanes are groups.
    if wanted == "kernel":
        # There the cotangent of the output is what XLA has as the kernel.
        return "direct" if _fits(g.output, g.size) else "patches"
    if channels == 1 and features <= NARROW:
        return "taps"  # Products of elements, in one loop.
    if channels * prod(g.kernel) <= NARROW:
        return "patches"  # XLA's is half as fast again for the 3x3 windows of colour images.
    # XLA's fast way wants a kernel no larger than the map: without it, 100 times slower.
    return "direct" if _fits(g.kernel, g.size) else "patches"


def _fits(kernel: Pair, size: Pair) -> bool:
    return all(f <= n for f, n in zip(kernel, size, strict=True))
