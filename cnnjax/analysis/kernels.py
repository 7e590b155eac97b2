"""The operations of a traced program, sorted as XLA:CPU does it: kernels, fused operations, views.

A trace names every addition. Compiled, few of them become an array in memory:

- a kernel (convolution, matrix product, sum, window) reads arrays from memory and writes its own;
- a fused operation (elementwise arithmetic, broadcast, slice, transpose) is computed on the fly by the loop or kernel
  that reads it, and is an array only where something asks for one (`cnnjax.analysis.buffers`);
- a view (reshape) is the array it is made of.

`scan`, `while`, `cond` and library calls are one kernel each: what runs inside them is not looked at.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal

from cnnjax.analysis.equation import called

MOVES = {"broadcast_in_dim", "concatenate", "dynamic_slice", "gather", "iota", "pad", "rev", "slice", "split",
         "transpose"}  # fmt: skip
TRANSCENDENTAL = {"atan2", "cbrt", "cos", "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "lgamma", "log",
                  "log1p", "logistic", "pow", "rsqrt", "sin", "sqrt", "tan", "tanh"}  # fmt: skip
_VIEWS = {"copy", "name", "reshape", "sharding_constraint", "squeeze", "stop_gradient"}
_CONTROL = ("scan", "while", "cond")
_KERNELS = (*_CONTROL, "arg", "conv_general", "cum", "dot_general", "fft", "random_", "reduce_", "scatter",
            "select_and_", "sort", "threefry")  # fmt: skip


@dataclasses.dataclass(slots=True, eq=False)
class Array:
    """An array of the program: its shape, its bytes, and the operation that makes it (None: an input)."""

    shape: tuple[int, ...]
    size: int
    maker: Operation | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def op(self) -> str:
        """The primitive that makes it, "" for an input."""
        return self.maker.name if self.maker else ""

    @property
    def source(self) -> Array:
        """The array it is a view of."""
        array = self
        while (maker := array.maker) and maker.is_view:
            array = maker.inputs[0]
        return array


@dataclasses.dataclass(eq=False)
class Operation:
    """An equation of the trace: primitive, parameters, arrays. Inputs that are literals are left out."""

    name: str
    params: dict[str, Any]
    inputs: list[Array]
    outputs: list[Array]
    position: int = 0

    @cached_property
    def is_view(self) -> bool:
        """Whether its output is its input. A transposed matrix product is: it is written in the order asked for."""
        return self.name in _VIEWS or (self.name == "transpose" and self.inputs[0].op == "dot_general")

    @cached_property
    def is_fused(self) -> bool:
        """Whether it is computed on the fly, as views, moves and elementwise operations are."""
        ranks = {len(array.shape) for array in self.inputs} - {0, len(self.outputs[0].shape)}
        elementwise = not self.name.startswith(_KERNELS) and len(self.outputs) == 1 and not ranks
        return elementwise or self.name in _VIEWS or self.name in MOVES

    @property
    def is_move(self) -> bool:
        """Whether it only moves numbers, so that a loop reads its input at another index than it writes."""
        return self.name in MOVES and not self.is_view

    @property
    def is_expensive(self) -> bool:
        """Whether its output, once in memory, is read rather than computed again."""
        elements = self.outputs[0].elements
        reads = {x for x in self.inputs if x.elements >= elements and x.op not in ("broadcast_in_dim", "iota")}
        return self.name in TRANSCENDENTAL or self.name == "concatenate" or len(reads) > 1

    @property
    def operands(self) -> list[Array]:
        """The arrays that it needs in memory: none if it is fused. Padding is left to windows."""
        if self.is_fused:
            return []
        arrays = [array.source for array in self.inputs]
        if self.name.startswith(("conv_general", "reduce_window")):
            return [array.maker.inputs[0].source if array.maker and array.op == "pad" else array for array in arrays]
        return _factors(arrays[0]) or arrays if self.name == "reduce_sum" else arrays


def _factors(array: Array) -> list[Array]:
    """What a sum of products, or of squares, multiplies as it goes; nothing if a factor is smaller than the product."""
    if not array.maker or array.op not in ("mul", "square"):
        return []
    factors = [factor.source for factor in array.maker.inputs if factor.op != "broadcast_in_dim"]
    whole = all(factor.elements == array.elements for factor in factors)
    return factors if whole and len(factors) == (2 if array.op == "mul" else 1) else []


# --- from the trace


class TracedProgram(NamedTuple):
    """Operations in the order of the trace, those of called functions in the place of the call; `outputs` are None for
    literals."""

    inputs: list[Array]
    operations: list[Operation]
    outputs: list[Array | None]


def program(jaxpr: Jaxpr) -> TracedProgram:
    """The operations of `jaxpr` that its outputs depend on."""
    arrays = {variable: _array(variable) for variable in jaxpr.invars}
    inputs, operations = list(arrays.values()), []
    outputs = _inline(jaxpr, arrays, operations)
    needed, used = {array for array in outputs if array}, []
    for operation in reversed(operations):
        if not needed.isdisjoint(operation.outputs):
            needed.update(operation.inputs)
            used.append(operation)
    used.reverse()
    for position, operation in enumerate(used):
        operation.position = position
    return TracedProgram(inputs, used, outputs)


def _inline(jaxpr: Jaxpr, arrays: dict[Any, Array], operations: list[Operation]) -> list[Array | None]:
    """The outputs of `jaxpr`, whose operations are appended; `arrays` are its variables known so far."""

    def look(variables: Iterable[Any]) -> list[Array]:
        return [arrays.get(v) or arrays.setdefault(v, _array(v)) for v in variables if not isinstance(v, Literal)]

    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if inner := None if name in _CONTROL else called(equation):
            pairs = zip(inner.invars, equation.invars, strict=True)
            known = {own: look([v])[0] for own, v in pairs if not isinstance(v, Literal)}
            results = zip(equation.outvars, _inline(inner, known, operations), strict=True)
            arrays.update((variable, result) for variable, result in results if result)
        else:
            operation = Operation(name, equation.params, look(equation.invars), look(equation.outvars))
            operations.append(operation)
            for array in operation.outputs:
                array.maker = operation
    return [None if isinstance(variable, Literal) else look([variable])[0] for variable in jaxpr.outvars]


def _array(variable: Any) -> Array:
    return Array(variable.aval.shape, size(variable.aval))


def size(value: Any) -> int:
    """Bytes of an array of that shape and type."""
    return math.prod(value.shape) * _itemsize(value.dtype)


@lru_cache
def _itemsize(dtype: Any) -> int:
    return 8 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else np.dtype(dtype).itemsize
