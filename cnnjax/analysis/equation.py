"""The shapes an equation of a trace reads and writes."""

from __future__ import annotations

from typing import Any

from jax.extend.core import JaxprEqn

Shape = tuple[int, ...]


def shape(variable: Any) -> Shape:
    """The shape of a variable or literal of a trace."""
    return variable.aval.shape


def input_shape(equation: JaxprEqn, position: int = 0) -> Shape:
    """The shape of the operand at `position`."""
    return shape(equation.invars[position])


def output_shape(equation: JaxprEqn) -> Shape:
    """The shape of the first output."""
    return shape(equation.outvars[0])
