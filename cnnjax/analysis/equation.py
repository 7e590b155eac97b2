"""The shapes an equation of a trace reads and writes, and the function it calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn

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


def called(equation: JaxprEqn) -> Jaxpr | None:
    """The equations of a function that `equation` calls with its operands as arguments: jit, remat, custom rules."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        inner = getattr(inner, "jaxpr", inner)
        if isinstance(inner, Jaxpr) and len(inner.invars) == len(equation.invars):
            return inner
    return None


def scan_operands(params: Mapping[str, Any]) -> tuple[int, int]:
    """Of a scan: how many operands every turn reads, and how many are carried; those it goes along are the rest.

    jax 0.11 groups the operands in a tree (`ft_in`: read, carried, gone along), earlier versions count them.
    """
    if "ft_in" in params:
        read, carried, _ = params["ft_in"].unpack()
        return len(read), len(carried)
    return params["num_consts"], params["num_carry"]
