"""The window that a convolution or pooling slides over its input: its size, strides, padding and dilation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jax.extend.core import JaxprEqn

from cnnjax.analysis.equation import input_shape
from cnnjax.analysis.receptive_field import Field, exact

Pairs = tuple[tuple[int, int], ...]


class Window(NamedTuple):
    """A window in positions of its input, one entry an axis of the image; padding is (before, after) an axis.

    groups: of the channels of a convolution; None for a pooling. input_dilation: 1, or for a transposed convolution
    one more than the zeros that it puts between its inputs, its stride in most libraries.
    """

    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int | None
    input_dilation: tuple[int, ...]


def of_equation(equation: JaxprEqn, field: Field | None) -> Window | None:
    """The window of a convolution or pooling over the axes that `field` has in its input, None for another equation."""
    p = equation.params
    if "feature_group_count" in p:
        axes = p["dimension_numbers"].rhs_spec[2:]
        kernel = tuple(input_shape(equation, 1)[axis] for axis in axes)
        strides, padding = tuple(p["window_strides"]), _pairs(p["padding"])
        return Window(kernel, strides, padding, tuple(p["rhs_dilation"]), p["feature_group_count"], p["lhs_dilation"])
    if "window_dimensions" not in p:
        return None
    found = [span.axis for span in field or () if span.axis is not None]
    names = ("window_dimensions", "window_strides", "padding", "window_dilation", "base_dilation")
    size, strides, padding, dilation, base = (tuple(p[name][axis] for axis in found) for name in names)
    return Window(size, strides, _pairs(padding), dilation, None, base) if found else None


def of_fields(before: Field, after: Field, inputs: Sequence[int], output: Sequence[int]) -> Window | None:
    """The window that leads from one receptive field to another, for a pooling that is written in other operations.

    `inputs` and `output` are the shapes of the arrays. None where there is no such window, or it is a single position.
    """
    sizes = [_between(old, new, inputs, output) for old, new in zip(before, after, strict=True)]
    axes = [axis for axis in sizes if axis is not None]
    if len(axes) != len(sizes) or all(axis[:2] == (1, 1) for axis in axes):
        return None
    kernel, strides, padding = zip(*axes, strict=True)
    return Window(kernel, strides, padding, (1,) * len(axes), None, (1,) * len(axes))


def _between(old, new, inputs: Sequence[int], output: Sequence[int]) -> tuple[int, int, tuple[int, int]] | None:
    if old.axis is None or new.axis is None or not old.jump:
        return None
    numbers = [exact(n) / exact(old.jump) for n in (new.size - old.size, new.jump, old.offset - new.offset)]
    kernel, stride, low = round(numbers[0]) + 1, round(numbers[1]), round(numbers[2])
    if numbers != [kernel - 1, stride, low] or stride < 1 or low < 0:
        return None
    high = (output[new.axis] - 1) * stride + kernel - low - inputs[old.axis]
    return kernel, stride, (low, max(high, 0))


def _pairs(padding: Sequence[Sequence[int]]) -> Pairs:
    return tuple((int(low), int(high)) for low, high in padding)
