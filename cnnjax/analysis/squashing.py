"""Whether a network ends with a softmax or a sigmoid, which losses of logits take themselves."""

from __future__ import annotations

from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn

from cnnjax.analysis.call_marks import mark
from cnnjax.analysis.equation import called
from cnnjax.analysis.tracing import Trace

_PASSING = {"name", "reshape", "squeeze", "broadcast_in_dim", "convert_element_type", "stop_gradient", "copy"}
"""Operations that leave numbers what they are."""


def squashed_by(traced: Trace) -> str | None:
    """`softmax` or `sigmoid` where one of them makes the network's only output; else None."""
    marks = [(mark(equation), equation) for equation in traced.jaxpr.eqns if "name" in equation.params]
    outputs = [equation for found, equation in marks if found and found.leaves and found.call == traced.root.token]
    if len(outputs) != 1:
        return None
    inside, made = _maker(traced.jaxpr, outputs[0].outvars[0])
    if made is None:
        return None
    if made.primitive.name == "logistic":
        return "sigmoid"
    return "softmax" if made.primitive.name == "div" and _is_share(inside, made) else None


def _is_share(jaxpr: Jaxpr, division: JaxprEqn) -> bool:
    """Whether it divides exponentials by their sum."""
    (_, top), (below, bottom) = (_maker(jaxpr, operand) for operand in division.invars)
    if top is None or bottom is None or (top.primitive.name, bottom.primitive.name) != ("exp", "reduce_sum"):
        return False
    return _maker(below, bottom.invars[0])[1] is top


def _maker(jaxpr: Jaxpr, variable: Any) -> tuple[Jaxpr, JaxprEqn | None]:
    """The equation that computes the numbers of a variable, and where it stands; None for an argument or a literal."""
    equation = next((each for each in jaxpr.eqns if any(variable is made for made in each.outvars)), None)
    if equation is None:
        return jaxpr, None
    inner = called(equation)
    if inner is not None:
        return _maker(inner, inner.outvars[equation.outvars.index(variable)])
    passes = equation.primitive.name in _PASSING
    return _maker(jaxpr, equation.invars[0]) if passes else (jaxpr, equation)
