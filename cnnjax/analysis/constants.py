"""Arrays of a trace that depend on neither the image nor a variable: worked out with NumPy where they are asked for.

They tell which numbers an indexing or a resize reads: JAX writes these as a gather at computed places and as a product
with a computed matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from cnnjax.analysis.equation import called, shape

LARGEST = 2**24
"""Elements of the largest array that is worked out."""

Values = Sequence[np.ndarray]


class Constants:
    """The constants of `jaxpr`, by variable; `known` are those of its arguments and of arrays that it captures."""

    def __init__(self, jaxpr: Jaxpr | None, known: Callable[[Any], np.ndarray | None]) -> None:
        self._equations = jaxpr.eqns if jaxpr else ()
        self._known = known
        self._found: dict[Any, np.ndarray | None] = {}
        self._makers: dict[Any, JaxprEqn] | None = None

    def __call__(self, variable: Any) -> np.ndarray | None:
        """The array, None if it is not known."""
        if isinstance(variable, Literal):
            return np.asarray(variable.val)
        if variable not in self._found:
            self._found[variable] = self._evaluated(variable)
        return self._found[variable]

    def inside(self, equation: JaxprEqn, inner: Jaxpr) -> Constants:
        """The constants of a function that `equation` calls with its operands."""
        outer = dict(zip(inner.invars, equation.invars, strict=True))
        return Constants(inner, lambda variable: self(outer[variable]) if variable in outer else None)

    def _evaluated(self, variable: Any) -> np.ndarray | None:
        if self._makers is None:
            self._makers = {made: equation for equation in self._equations for made in equation.outvars}
        maker = self._makers.get(variable)
        if maker is None:
            return self._known(variable)
        if math.prod(shape(variable)) > LARGEST or jnp.issubdtype(variable.aval.dtype, jax.dtypes.extended):
            return None
        if (inner := called(maker)) is not None:
            results = zip(maker.outvars, inner.outvars, strict=True)
            return self.inside(maker, inner)(next(result for made, result in results if made is variable))
        rule = _RULES.get(maker.primitive.name)
        if rule is None:
            return None
        values = [value for operand in maker.invars if (value := self(operand)) is not None]
        if len(values) < len(maker.invars):
            return None
        with np.errstate(all="ignore"):
            return np.asarray(rule(values, maker.params)).astype(variable.aval.dtype)


def _broadcast(values: Values, params: Mapping[str, Any]) -> np.ndarray:
    sizes = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], values[0].shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(values[0].reshape(sizes), params["shape"])


def _iota(_: Values, params: Mapping[str, Any]) -> np.ndarray:
    sizes, axis = params["shape"], params["dimension"]
    return np.broadcast_to(np.arange(sizes[axis]).reshape([-1] + [1] * (len(sizes) - axis - 1)), sizes)


def _divide(values: Values, _: Mapping[str, Any]) -> np.ndarray:
    exact = np.divide(*values)
    return np.trunc(exact) if np.issubdtype(values[0].dtype, np.integer) else exact


def _plainly(function: Callable[..., np.ndarray]) -> Callable[[Values, Mapping[str, Any]], np.ndarray]:
    return lambda values, params: function(*values)


def _reducing(function: Callable[..., np.ndarray]) -> Callable[[Values, Mapping[str, Any]], np.ndarray]:
    return lambda values, params: function(values[0], axis=tuple(params["axes"]))


# fmt: off
_PLAIN = {
    "abs": np.abs, "add": np.add, "and": np.bitwise_and, "ceil": np.ceil, "clamp": lambda a, x, b: np.clip(x, a, b),
    "convert_element_type": np.asarray, "copy": np.asarray, "cos": np.cos, "eq": np.equal, "exp": np.exp,
    "floor": np.floor, "ge": np.greater_equal, "gt": np.greater, "le": np.less_equal, "log": np.log, "lt": np.less,
    "max": np.maximum, "min": np.minimum, "mul": np.multiply, "ne": np.not_equal, "neg": np.negative,
    "not": np.invert, "or": np.bitwise_or, "pow": np.power, "rem": np.fmod, "sign": np.sign, "sin": np.sin,
    "sqrt": np.sqrt, "square": np.square, "stop_gradient": np.asarray, "sub": np.subtract,
}
# fmt: on
_RULES: dict[str, Callable[[Values, Mapping[str, Any]], np.ndarray]] = {
    **{name: _plainly(function) for name, function in _PLAIN.items()},
    **{f"reduce_{name}": _reducing(getattr(np, name)) for name in ("sum", "max", "min", "prod")},
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda values, params: np.concatenate(values, params["dimension"]),
    "div": _divide,
    "integer_pow": lambda values, params: values[0] ** params["y"],
    "iota": _iota,
    "reshape": lambda values, params: values[0].reshape(params["new_sizes"]),
    "rev": lambda values, params: np.flip(values[0], params["dimensions"]),
    "select_n": lambda values, params: np.where(values[0], values[2], values[1]),
    "slice": lambda values, params: values[0][
        tuple(map(slice, params["start_indices"], params["limit_indices"], params["strides"] or [None] * 9))
    ],
    "squeeze": lambda values, params: np.squeeze(values[0], tuple(params["dimensions"])),
    "transpose": lambda values, params: np.transpose(values[0], params["permutation"]),
}
