"""Where gradients go: from the outputs of a trace back to the parameters, without taking a derivative."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jax import numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from cnnjax.analysis.call_marks import Path, mark, weight_mark
from cnnjax.analysis.equation import called, input_shape, scan_operands, shape
from cnnjax.analysis.tracing import Trace

_FLAT = {"stop_gradient", "floor", "ceil", "round", "sign"}
_ONE_FOR_ONE = {"reshape", "broadcast_in_dim", "convert_element_type", "squeeze"}


class Weights(NamedTuple):
    """The parameters of a network by path, name included, and those that do nothing.

    unreached: no gradient comes to them from the outputs. cancelled: biases that a batch normalization subtracts
    again, with the name of that normalization's call.
    """

    sizes: Mapping[Path, int]
    unreached: frozenset[Path] = frozenset()
    cancelled: tuple[tuple[Path, str], ...] = ()


def weights(traced: Trace) -> Weights:
    """The parameters of a trace without error."""
    back = _Backward(traced.root.token)
    back.run(traced.jaxpr, [position < traced.left for position in range(len(traced.jaxpr.outvars))])
    # A parameter without a mark was not asked for in a way that is known here, and passes for one that is reached.
    reached = {traced.marked.get(token) for token in back.reached}
    unreached = frozenset(traced.weights) & frozenset(traced.marked.values()) - reached
    return Weights(traced.weights, unreached, tuple(_cancelled(traced)))


# --- backwards from the outputs


class _Backward:
    """Goes backwards through equations from the outputs of call `root`; `reached` are the marks of parameters."""

    def __init__(self, root: int):
        self.reached: set[int] = set()
        self._root = root

    def run(self, jaxpr: Jaxpr, wanted: Sequence[bool]) -> list[bool]:
        """Which arguments of `jaxpr` a gradient comes to, given to which of its outputs one comes."""
        alive = {variable for variable, want in zip(jaxpr.outvars, wanted, strict=True) if want and _smooth(variable)}
        for equation in reversed(jaxpr.eqns):
            outputs = [variable in alive for variable in equation.outvars]
            if equation.primitive.name == "name":
                outputs = [self._marked(equation, outputs[0])]
            if any(outputs):
                flags = zip(equation.invars, self._inputs(equation, outputs), strict=True)
                alive.update(variable for variable, flag in flags if flag and _smooth(variable))
        return [variable in alive for variable in jaxpr.invars]

    def _marked(self, equation: JaxprEqn, alive: bool) -> bool:
        """Whether a gradient comes to what `equation` names: the outputs of the network are where it starts."""
        if alive and (token := weight_mark(equation)) is not None:
            self.reached.add(token)
        return alive or ((found := mark(equation)) is not None and found.leaves and found.call == self._root)

    def _inputs(self, equation: JaxprEqn, outputs: list[bool]) -> list[bool]:
        name = equation.primitive.name
        if control := _CONTROL.get(name):
            return control(self, equation.params, outputs)
        if inner := called(equation):
            return self.run(inner, outputs)
        by_zero = name == "mul" and any(_is_zero(variable) for variable in equation.invars)
        return [name not in _FLAT and not by_zero] * len(equation.invars)

    def _scan(self, params: dict[str, Any], outputs: list[bool]) -> list[bool]:
        consts, carried = scan_operands(params)
        return self._loop(params["jaxpr"].jaxpr, outputs, slice(consts, consts + carried))

    def _while(self, params: dict[str, Any], outputs: list[bool]) -> list[bool]:
        consts = params["body_nconsts"]
        inputs = self._loop(params["body_jaxpr"].jaxpr, outputs, slice(consts, consts + len(outputs)))
        return [False] * params["cond_nconsts"] + inputs

    def _loop(self, body: Jaxpr, outputs: list[bool], carry: slice) -> list[bool]:
        """Of a loop: a gradient of a carried input is one of the carried output of the iteration before."""
        wanted = list(outputs)
        while True:
            inputs = self.run(body, wanted)
            carried = inputs[carry]
            before = wanted[: len(carried)]
            wanted[: len(carried)] = [old or new for old, new in zip(before, carried, strict=True)]
            if wanted[: len(carried)] == before:
                return inputs

    def _cond(self, params: dict[str, Any], outputs: list[bool]) -> list[bool]:
        branches = [self.run(branch.jaxpr, outputs) for branch in params["branches"]]
        return [False, *map(any, zip(*branches, strict=True))]


_CONTROL = {"scan": _Backward._scan, "while": _Backward._while, "cond": _Backward._cond}


def _smooth(variable: Any) -> bool:
    return not isinstance(variable, Literal) and _is_inexact(variable.aval.dtype)


@lru_cache
def _is_inexact(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def _is_zero(variable: Any) -> bool:
    return isinstance(variable, Literal) and not shape(variable) and not variable.val


# --- biases before batch normalization


def _cancelled(traced: Trace) -> Iterator[tuple[Path, str]]:
    """Biases added last before a batch normalization that is all that reads the sum."""
    norms = {token: call.name for token, call in traced.calls.items() if call.op == "batch_norm"}
    for jaxpr in _nested(traced.jaxpr) if norms else ():
        makers = {variable: equation for equation in jaxpr.eqns for variable in equation.outvars}
        reads = _reads(jaxpr)
        for equation in jaxpr.eqns:
            found = mark(equation)
            if found is None or found.leaves:
                continue
            token = _added_weight(equation.invars[0], makers, reads) if found.call in norms else None
            path = traced.marked.get(token or -1, ())
            # One number a channel: a bias that differs from place to place is no part of the mean alone.
            if traced.weights.get(path) == input_shape(equation)[-1]:
                yield path, norms[found.call]


def _added_weight(variable: Any, makers: Mapping[Any, JaxprEqn], reads: Mapping[Any, int]) -> int | None:
    """The mark of the parameter that was added last to make `variable`, if nothing else reads the sum."""
    maker = _source(variable, makers, through={"name", "convert_element_type"}, reads=reads)
    if maker is None or maker.primitive.name != "add":
        return None
    for operand in maker.invars:
        source = None if isinstance(operand, Literal) else _source(operand, makers, through=_ONE_FOR_ONE)
        if source is not None and (token := weight_mark(source)) is not None:
            return token
    return None


def _source(
    variable: Any, makers: Mapping[Any, JaxprEqn], *, through: set[str], reads: Mapping[Any, int] | None = None
) -> JaxprEqn | None:
    """The first equation before `variable` that is none of `through`; None if, on the way, something else `reads`."""
    while True:
        maker = None if isinstance(variable, Literal) else makers.get(variable)
        if maker is None or (reads is not None and reads[variable] > 1):
            return None
        if maker.primitive.name not in through:
            return maker
        variable = maker.invars[0]


def _reads(jaxpr: Jaxpr) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for variables in (*(equation.invars for equation in jaxpr.eqns), jaxpr.outvars):
        for variable in variables:
            if not isinstance(variable, Literal):
                counts[variable] = counts.get(variable, 0) + 1
    return counts


def _nested(jaxpr: Jaxpr) -> Iterator[Jaxpr]:
    """`jaxpr` and those inside it."""
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if isinstance(inner, Jaxpr):
                    yield from _nested(inner)
