"""Indexing and resizing along an axis: which units of an operand each output reads, where that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import JaxprEqn

from cnnjax.analysis.equation import input_shape, output_shape
from cnnjax.analysis.receptive_field import Span, collapsed, exact, grained, plain

Known = Callable[[Any], np.ndarray | None]


class Taps(NamedTuple):
    """Output i along `out_axis` reads, of the operand at `position`, units `low[i]` to before `high[i]` along `axis`.

    macs: what is multiplied for it, by weights that are not 0.
    """

    position: int
    axis: int
    out_axis: int
    low: np.ndarray
    high: np.ndarray
    macs: int


def taps(equation: JaxprEqn, positions: Collection[int], known: Known) -> Taps | None:
    """What a gather or a matrix product reads of the one operand that depends on the image, at `positions`."""
    find = _FINDERS.get(equation.primitive.name)
    if find is None or len(positions) != 1:
        return None
    (position,) = positions
    return find(equation, position, known)


def _gathered(equation: JaxprEqn, position: int, known: Known) -> Taps | None:
    """Of one axis those units that a list of known indices names."""
    p, sizes = equation.params, input_shape(equation)
    numbers, slices = p["dimension_numbers"], p["slice_sizes"]
    if position or len(input_shape(equation, 1)) != 2 or len(numbers.start_index_map) != 1:
        return None
    (axis,) = numbers.start_index_map
    whole = all(size == n for a, (size, n) in enumerate(zip(slices, sizes, strict=True)) if a != axis)
    if numbers.collapsed_slice_dims != (axis,) or numbers.operand_batching_dims or not whole:
        return None
    indices = known(equation.invars[1])
    if indices is None or indices.min() < 0 or indices.max() >= sizes[axis]:
        return None
    (out_axis,) = set(range(len(output_shape(equation)))) - set(numbers.offset_dims)
    return Taps(0, axis, out_axis, indices[:, 0], indices[:, 0] + 1, 0)


def _multiplied(equation: JaxprEqn, position: int, known: Known) -> Taps | None:
    """Of the contracted axis those units whose weights in a known matrix are not 0."""
    contracted, batch = equation.params["dimension_numbers"]
    weights, sizes = 1 - position, input_shape(equation, position)
    if len(input_shape(equation, weights)) != 2 or len(contracted[0]) != 1 or batch[0]:
        return None
    matrix = known(equation.invars[weights])
    if matrix is None:
        return None
    used = (matrix if contracted[weights][0] == 1 else matrix.T) != 0
    if not used.any(axis=1).all():
        return None
    low, high = used.argmax(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1)
    axis = contracted[position][0]
    count = int(used.sum()) * math.prod(sizes) // sizes[axis]
    return Taps(position, axis, 0 if position else len(sizes) - 1, low, high, count)


_FINDERS = {"gather": _gathered, "dot_general": _multiplied}


def sampled(span: Span, taps: Taps, length: int) -> Span:
    """What the outputs see of an operand whose axis, of that length, `span` runs along.

    Reading at even distances is a window that slides; where they are even but for rounding, neighbours are a grain
    apart or see the same. In any other order all is seen together.
    """
    span = plain(span, length)
    if span.axis is None or len(taps.low) < 2:
        return collapsed(span, length) if span.axis is not None else span
    # Windows are cut off at the edge.
    inner = np.flatnonzero(taps.low > taps.low.min()) if (taps.high - taps.low).max() > 1 else np.arange(len(taps.low))
    steps = set(np.diff(taps.low[inner]).tolist())
    even = len(steps) == 1 and 0 not in steps
    ratio = steps.pop() if even else Fraction(length, len(taps.low))
    starts = [int(low) - unit * ratio for unit, low in enumerate(taps.low)]
    if len(inner) < 2 or max(starts[k] for k in inner) - min(starts[k] for k in inner) > 1:
        return collapsed(span, length)
    wider = int((taps.high - taps.low).max() - 1) * abs(span.jump)
    first = min(starts) if span.jump > 0 else max(starts)
    after = span._replace(
        axis=taps.out_axis,
        size=span.size + wider,
        jump=exact(ratio * span.jump),
        offset=exact(span.offset + first * span.jump),
        least=span.least + wider,
    )
    return after if even else grained(after, abs(span.jump))
