"""The geometry of a convolution: all but the contents of its input and kernel."""

from __future__ import annotations

from typing import NamedTuple

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """All about a convolution that its operands' shapes do not tell. `size` is the input's height and width."""

    size: Pair
    kernel: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int

    @property
    def output(self) -> Pair:
        """Rows and columns of the output."""
        axes = zip(self.size, self.kernel, self.strides, self.padding, self.dilation, strict=True)
        rows, columns = ((sum(p) + n - (f - 1) * d - 1) // s + 1 for n, f, s, p, d in axes)
        return rows, columns

    @property
    def is_spread(self) -> bool:
        """Strides and dilation on one axis."""
        return any(s > 1 and d > 1 for s, d in zip(self.strides, self.dilation, strict=True))

    @property
    def is_pointwise(self) -> bool:
        """A kernel of one position, without padding: a matrix product of (strided) positions."""
        return self.kernel == (1, 1) and self.padding == ((0, 0), (0, 0))

    @property
    def is_dense(self) -> bool:
        """A kernel as large as the map: a dense layer."""
        return self.kernel == self.size and self.padding == ((0, 0), (0, 0)) and self.dilation == (1, 1)
