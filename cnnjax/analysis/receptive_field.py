"""Which pixels a unit sees, and how a window slid over it, a merge or a pooling changes that.

Along each of the two image directions the units of an array see a window that moves with one array axis: unit i sees
`size` pixels from `offset + i * jump`. A layer of kernel k and stride s makes it `size + (k - 1) * jump` wide and
moves it by `jump * s` (Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill
2019). Where arrays meet the windows are united, so that branches and residual connections need no special case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Number = int | float | Fraction
Bounds = tuple[Number, Number]


class Span(NamedTuple):
    """The pixels seen along one direction of the image.

    Along `axis` of the array unit i sees `size` pixels from `offset + i * jump` (`axis` None: there is no such
    window). Besides, all units see the pixels from `fixed[0]` to before `fixed[1]`: what a pooling over space saw.
    With neither they see no pixel. `least` is the size by the path that sees least, such as all the skip connections.

    With `units` the axis was merged with others: it has that many of them, each `repeats` times in a row (`plain`).
    After upsampling neighbours see the same or what is `grain` pixels on: of what comes to a size of `core` then, only
    whole grains are seen (`seen`).
    """

    axis: int | None
    size: Number = 1
    jump: Number = 1
    offset: Number = 0
    fixed: Bounds | None = None
    least: Number = 1
    units: int = 0
    repeats: int = 1
    core: Number = 0
    grain: Number = 0


class Field(NamedTuple):
    """The receptive field of the units of one array."""

    height: Span
    width: Span


NOTHING = Span(None)
WHOLE = Span(None, fixed=(-math.inf, math.inf))
IMAGE = Field(Span(1), Span(2))
EVERYTHING = Field(WHOLE, WHOLE)


def unite(fields: Sequence[Field]) -> Field:
    """What is seen by units that combine one unit of each array, all of one shape. `fields` is not empty."""
    united = fields[0]
    for field in fields[1:]:
        if field != united:
            united = Field(_unite(united.height, field.height), _unite(united.width, field.width))
    return united


def aligned(fields: Sequence[Field], shape: Sequence[int]) -> list[Field]:
    """The fields of arrays of one `shape` for uniting: merged axes stay only where all have the same ones."""
    directions = [_aligned(spans, shape) for spans in zip(*fields, strict=True)]
    return [Field(*spans) for spans in zip(*directions, strict=True)]


def _aligned(spans: Sequence[Span], shape: Sequence[int]) -> Sequence[Span]:
    if len({(span.axis, span.units, span.repeats) for span in spans if span.axis is not None}) < 2:
        return spans
    return [span if span.axis is None else plain(span, shape[span.axis]) for span in spans]


def placed(field: Field, shape: Sequence[int]) -> Field:
    """The field of an array of that shape with merged axes taken apart, where its units have a place, or seen together.

    Units of several places that became examples of their own, such as windows of attention, are not seen together: each
    sees as much, at places that are not known.
    """
    height, width = field
    if height.axis is not None and height.axis == width.axis:
        if are_examples(field, shape):
            return Field(*(Span(None, fixed=_hull((0, seen(span)), span.fixed)) for span in field))
        return Field(*(collapsed(span, shape[span.axis or 0]) for span in field))
    return Field(*(span if span.axis is None else plain(span, shape[span.axis]) for span in field))


def are_examples(field: Field, shape: Sequence[int]) -> bool:
    """Whether units of several places became examples of their own: all along the first axis, and nothing else."""
    height, width = field
    return height.axis == width.axis == 0 and width.repeats == 1 and len(shape) > 1


def plain(span: Span, length: int) -> Span:
    """`span` along an axis of that length as a window that moves with each unit; without one, what is seen together."""
    if not span.units:
        return span
    if span.units * span.repeats != length:
        return collapsed(span, length)
    first = span.offset - exact((span.repeats - 1) * max(span.jump, 0), span.repeats)
    apart = span._replace(units=0, repeats=1, jump=exact(span.jump, span.repeats), offset=exact(first))
    return grained(apart, abs(span.jump))


def grained(span: Span, grain: Number) -> Span:
    """`span` after an upsampling of units that are `grain` pixels apart.

    Where coarser ones that these subdivide were upsampled before, whole ones of those are seen, as before.
    """
    if span.grain and exact(span.grain) % exact(grain) == 0:
        return span
    size = seen(span)
    return span._replace(size=size, core=size, grain=max(grain, span.grain))


def seen(span: Span) -> Number:
    """The largest size that a unit sees."""
    return span.core - (span.core - span.size) // span.grain * span.grain if span.grain else span.size


def sliced(field: Field, length: int) -> Field:
    """The field of the `length` slices along the first axis, seen together if that is an axis of the image."""
    return Field(*(collapsed(span, length) if span.axis == 0 else _moved(span, -1) for span in field))


def stacked(field: Field) -> Field:
    """The field of arrays stacked along a new first axis."""
    return Field(*(_moved(span, 1) for span in field))


def _moved(span: Span, places: int) -> Span:
    return span if span.axis is None else span._replace(axis=span.axis + places)


def extent(span: Span, pixels: int) -> tuple[int, int | float, int | float]:
    """Size, jump and offset to report for an image of `pixels` along this direction."""
    if span.axis is not None:
        return math.ceil(seen(span)), _plain(span.jump), _plain(span.offset)
    low, high = span.fixed or (0, 0)
    low, high = max(low, 0), min(high, pixels)
    return math.ceil(max(high - low, 0)), 0, _plain(low)


def has_place(field: Field) -> bool:
    """Whether the units are those of a map, each with a place along some direction of the image."""
    height, width = (span.axis for span in field)
    return height != width


def together(fields: Sequence[Field], image: Sequence[int]) -> tuple[int, int]:
    """The size, in height and width, that units of these maps at one place see; (1, 1) without any."""
    height, width = (_together(spans, pixels) for spans, pixels in zip(zip(*fields, strict=True), image, strict=False))
    return height, width


def _together(spans: Sequence[Span], pixels: int) -> int:
    # Units that are equally far apart have the same places; of others the largest size is known.
    placed: dict[Number, Bounds | None] = {}
    for span in spans:
        if span.axis is not None:
            placed[span.jump] = _hull(placed.get(span.jump), (span.offset, span.offset + seen(span)))
    sizes = [math.ceil(bounds[1] - bounds[0]) for bounds in placed.values() if bounds]
    return max(sizes or [extent(span, pixels)[0] for span in spans])


def least(field: Field) -> tuple[int, int]:
    """The size by the path that sees least in either direction, 0 where there is no window."""
    height, width = (0 if span.axis is None else math.ceil(span.least) for span in field)
    return height, width


def _plain(number: Number) -> int | float:
    return number if isinstance(number, int) else float(number)


def exact(number: Number, divisor: int = 1) -> Number:
    """`number` / `divisor`, an integer if it is one."""
    if divisor == 1 and isinstance(number, int):
        return number
    ratio = Fraction(number) / divisor
    return ratio.numerator if ratio.denominator == 1 else ratio


def _hull(*intervals: Bounds | None) -> Bounds | None:
    present = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in present), max(high for _, high in present)) if present else None


def collapsed(span: Span, units: int) -> Span:
    """Every unit sees what the `units` along the axis saw together."""
    last = span.offset + ((span.units or units) - 1) * span.jump
    whole = (min(span.offset, last), max(span.offset, last) + seen(span))
    return Span(None, fixed=_hull(whole, span.fixed))


def _unite(left: Span, right: Span) -> Span:
    fixed = _hull(left.fixed, right.fixed)
    if left.axis is None or right.axis is None:
        return (right if left.axis is None else left)._replace(fixed=fixed)
    if (left.axis, left.jump, left.units, left.repeats) != (right.axis, right.jump, right.units, right.repeats):
        return WHOLE
    for outer, inner in ((left, right), (right, left)):
        if outer.grain and _surrounds(outer, inner):
            return outer._replace(fixed=fixed, least=min(left.least, right.least))
    start, end = min(left.offset, right.offset), max(left.offset + seen(left), right.offset + seen(right))
    united = left._replace(size=end - start, offset=start, fixed=fixed, least=min(left.least, right.least))
    grain = max(left.grain, right.grain)
    return united._replace(core=united.size if grain else 0, grain=grain)


def _surrounds(outer: Span, inner: Span) -> bool:
    """Whether each unit sees in `outer` all that it does in `inner`, places being known up to a grain."""
    low, high = outer.offset + outer.grain, outer.offset + outer.size - outer.grain
    return low <= inner.offset and inner.offset + seen(inner) + inner.grain <= high


def widened(before: Field, after: Field) -> Field:
    """`after` a single window, by whatever operations: what is seen least has grown by as much as what is seen most."""
    return Field(*(new._replace(least=old.least + new.size - old.size) for old, new in zip(before, after, strict=True)))


def slid(span: Span, *, kernel: int, stride: int, before: int, base: int = 1, dilation: int = 1) -> Span:
    """After a window of `kernel` units was slid over them, with `before` units of padding in front.

    `base` - 1 zeros stand between the units (a transposed convolution), `dilation` - 1 between the taps.
    """
    steps = (kernel - 1) * dilation // base
    first = span.offset - exact(before * span.jump, base) + min(0, steps * span.jump)
    after = span._replace(
        size=span.size + steps * abs(span.jump),
        jump=exact(span.jump * stride, base),
        offset=exact(first),
        least=span.least + steps * abs(span.jump),
    )
    return grained(after, abs(span.jump)) if base > 1 else after
