"""How each equation of a traced network changes the receptive field: one rule a primitive.

What no rule describes is taken to see all that its operands see together, so that a receptive field is never too
small. Padding counts as padding even where it repeats pixels of the image (reflection, wrapping around).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from jax.extend.core import JaxprEqn

from cnnjax.analysis.equation import Shape, input_shape, output_shape, shape
from cnnjax.analysis.receptive_field import NOTHING, WHOLE, Field, Span, aligned, collapsed, plain, slid, unite
from cnnjax.analysis.resampling import Taps, sampled

# From the span of the operand at a position, which has an axis; last, the axis of the other direction.
Rule = Callable[[Span, JaxprEqn, int, int | None], Span]


def propagate(equation: JaxprEqn, operands: Iterable[tuple[int, Field]], taps: Taps | None = None) -> Field:
    """The field of the outputs of `equation`, from those operands (by position) that depend on the image.

    taps: what is read along one axis, where more is known than the equation says.
    """
    rule = _RULES.get(equation.primitive.name, _see_all)
    fields = [Field(*_each(rule, equation, position, field, taps)) for position, field in operands]
    field = unite(aligned(fields, output_shape(equation)) if len(fields) > 1 else fields)
    return Field(*(WHOLE if span == NOTHING else span for span in field)) if NOTHING in field else field


def _each(rule: Rule, equation: JaxprEqn, position: int, field: Field, taps: Taps | None) -> Iterable[Span]:
    for span, other in (field, field[::-1]):
        if span.axis is None:
            yield span
        elif taps is not None and (position, span.axis) == (taps.position, taps.axis):
            yield sampled(span, taps, input_shape(equation, position)[span.axis])
        else:
            yield rule(span, equation, position, other.axis)


def has_rule(name: str) -> bool:
    """Whether the primitive `name` is described here."""
    return name in _RULES


def _kept(span: Span, equation: JaxprEqn, position: int, kept: Sequence[int | None]) -> Span:
    """Only the axes `kept` are left, in their order; all units along another are seen together."""
    assert span.axis is not None
    if span.axis in kept:
        return span._replace(axis=kept.index(span.axis))
    return collapsed(span, input_shape(equation, position)[span.axis])


def _see_all(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    return _kept(span, equation, position, ())


def _elementwise(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    """An axis stays unless its length changes: 1 is stretched, or a part is taken whose place depends on data."""
    assert span.axis is not None
    units = input_shape(equation, position)[span.axis]
    return span if units == output_shape(equation)[span.axis] else collapsed(span, units)


def _convolution(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    p = equation.params
    lhs, rhs, out = p["dimension_numbers"]
    if position == 1 or span.axis == lhs[1] or (span.axis == lhs[0] and p["batch_group_count"] > 1):
        return _see_all(span, equation, position, other)
    if span.axis == lhs[0]:
        return span._replace(axis=out[0])
    span, d = _moving(span, equation), lhs[2:].index(span.axis)
    return (
        span
        if span.axis is None
        else slid(
            span._replace(axis=out[2 + d]),
            kernel=input_shape(equation, 1)[rhs[2 + d]],
            stride=p["window_strides"][d],
            before=p["padding"][d][0],
            base=p["lhs_dilation"][d],
            dilation=p["rhs_dilation"][d],
        )
    )


def _moving(span: Span, equation: JaxprEqn, position: int = 0) -> Span:
    """`span` as a window that moves with each unit of the operand's axis; seen together if there is none."""
    assert span.axis is not None
    return plain(span, input_shape(equation, position)[span.axis])


def _window(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    a, p = span.axis, equation.params
    if p["window_dimensions"][a] == p["window_strides"][a] == p["base_dilation"][a] == 1 and not any(p["padding"][a]):
        return span
    span = _moving(span, equation)
    return (
        span
        if span.axis is None
        else slid(
            span,
            kernel=p["window_dimensions"][a],
            stride=p["window_strides"][a],
            before=p["padding"][a][0],
            base=p["base_dilation"][a],
            dilation=p["window_dilation"][a],
        )
    )


def _product(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    contracted, batch = equation.params["dimension_numbers"]
    free = [
        [a for a in range(len(input_shape(equation, side))) if a not in contracted[side] and a not in batch[side]]
        for side in (0, 1)
    ]
    kept = [*batch[position], *([None] * len(free[0]) if position == 1 else []), *free[position]]
    return _kept(span, equation, position, kept)


def _reduction(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    gone = equation.params["axes" if "axes" in equation.params else "dimensions"]
    return _kept(span, equation, position, [a for a in range(len(input_shape(equation, position))) if a not in gone])


def _transpose(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    return _kept(span, equation, position, equation.params["permutation"])


def _broadcast(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    assert span.axis is not None
    axis = equation.params["broadcast_dimensions"][span.axis]
    units = input_shape(equation, position)[span.axis]
    return span._replace(axis=axis) if equation.params["shape"][axis] == units else collapsed(span, units)


def _reshape(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    """An axis stays, is merged with others, or is split: its outer part moves on, in larger jumps."""
    assert span.axis is not None
    old, new = input_shape(equation, position), equation.params["new_sizes"]
    if 0 in old:
        return collapsed(span, 0)
    units = span.units or old[span.axis]
    if units == 1:
        axis = _lone(new, math.prod(old[: span.axis]))
        return collapsed(span, 1) if axis is None else span._replace(axis=axis, units=0, repeats=1)
    inner = span.repeats * math.prod(old[span.axis + 1 :])
    axis, after = _outermost(new, inner * units)
    if new[axis] * after % (inner * units):
        return collapsed(span, units)
    parts = 1 if inner % after == 0 else after // inner
    if units % parts or (parts > 1 and after % inner):
        return collapsed(span, units)
    repeats = inner * parts // after
    return span._replace(
        axis=axis,
        size=span.size + (parts - 1) * abs(span.jump),
        jump=span.jump * parts,
        offset=span.offset + min(0, (parts - 1) * span.jump),
        units=0 if repeats == 1 and units // parts == new[axis] else units // parts,
        repeats=repeats,
    )


def _outermost(shape: Shape, elements: int) -> tuple[int, int]:
    """The axis in which a run of so many elements ends, and the elements in all axes after it."""
    after = 1
    for axis in range(len(shape) - 1, 0, -1):
        if after * shape[axis] >= elements:
            return axis, after
        after *= shape[axis]
    return 0, after


def _lone(shape: Shape, before: int) -> int | None:
    """The axis of length 1, after the first, that has `before` elements in the axes in front of it."""
    return next((a for a in range(1, len(shape)) if shape[a] == 1 and math.prod(shape[:a]) == before), None)


def _concatenation(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    """Along another axis nothing changes. Along this one the piece that makes up most of the output counts, and the
    others as padding that holds nothing new (reflection, wrapping around)."""
    if span.axis != equation.params["dimension"]:
        return span
    assert span.axis is not None
    lengths = [shape(variable)[span.axis] for variable in equation.invars]
    if 2 * max(lengths) <= sum(lengths):
        return WHOLE
    if lengths[position] < max(lengths):
        return NOTHING._replace(fixed=span.fixed)
    span = _moving(span, equation, position)
    return span._replace(offset=span.offset - sum(lengths[:position]) * span.jump)


def _stack(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    assert span.axis is not None
    return span._replace(axis=span.axis + (span.axis >= equation.params["axis"]))


def _pad(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    assert span.axis is not None
    before, after, interior = map(int, equation.params["padding_config"][span.axis])
    if before == after == interior == 0:
        return span
    span = _moving(span, equation)
    return span if span.axis is None else slid(span, kernel=1, stride=1, before=before, base=interior + 1)


def _slice(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    assert span.axis is not None
    a, p = span.axis, equation.params
    start, stride = int(p["start_indices"][a]), 1 if p["strides"] is None else int(p["strides"][a])
    if output_shape(equation)[a] == input_shape(equation)[a]:
        return span
    span = _moving(span, equation)
    return span._replace(offset=span.offset + start * span.jump, jump=span.jump * stride)


def _reverse(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    if span.axis not in equation.params["dimensions"]:
        return span
    assert span.axis is not None
    units, span = input_shape(equation, position)[span.axis], _moving(span, equation)
    last = span.offset + (units - 1) * span.jump
    return span._replace(offset=last, jump=-span.jump)


def _along(parameter: str) -> Rule:
    """A rule for primitives that mix the units along one axis and leave the others alone."""

    def rule(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
        return span if span.axis != equation.params[parameter] else _see_all(span, equation, position, other)

    return rule


def _gather(span: Span, equation: JaxprEqn, position: int, other: int | None) -> Span:
    """An axis that every slice takes whole stays; a gather along it may take any unit."""
    assert span.axis is not None
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape = input_shape(equation)
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [axis for axis in range(len(shape)) if axis not in gone]
    if position == 1 or span.axis in gone or sizes[span.axis] != shape[span.axis]:
        return _see_all(span, equation, position, other)
    return span._replace(axis=numbers.offset_dims[kept.index(span.axis)])


# fmt: off
_ELEMENTWISE = (
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "clamp", "clz", "conj", "convert_element_type", "copy", "cos", "cosh", "digamma", "div", "eq", "eq_to", "erf",
    "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "imag", "integer_pow", "is_finite", "le",
    "le_to", "lgamma", "log", "log1p", "logistic", "lt", "lt_to", "max", "min", "mul", "name", "ne", "neg",
    "nextafter", "not", "or", "population_count", "pow", "real", "reduce_precision", "rem", "round", "rsqrt",
    "select_n", "sharding_constraint", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin",
    "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor",
)
_REDUCTIONS = (
    "argmax", "argmin", "reduce", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod",
    "reduce_sum", "reduce_xor",
)
# fmt: on

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(["reduce_window", "reduce_window_max", "reduce_window_min", "reduce_window_sum"], _window),
    **dict.fromkeys(["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "split"], _along("axis")),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenation,
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "dynamic_slice": _elementwise,
    "dynamic_update_slice": _elementwise,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _reverse,
    "slice": _slice,
    "sort": _along("dimension"),
    "squeeze": _reduction,
    "stack": _stack,
    "transpose": _transpose,
}
