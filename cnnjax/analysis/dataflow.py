"""From the equations of a trace to rows: multiply-accumulates, activations and receptive fields, call by call."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.core import Tracer
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from cnnjax.analysis import receptive_field
from cnnjax.analysis.call_marks import Call, Mark, mark
from cnnjax.analysis.constants import Constants
from cnnjax.analysis.equation import called, input_shape, output_shape, scan_operands
from cnnjax.analysis.macs import macs
from cnnjax.analysis.propagation import has_rule, propagate
from cnnjax.analysis.receptive_field import EVERYTHING, IMAGE, Field
from cnnjax.analysis.resampling import Taps, taps
from cnnjax.analysis.shape_checks import check_fit
from cnnjax.analysis.tracing import Trace
from cnnjax.analysis.window import Window, of_equation, of_fields

_POOLS = {"reduce_window_max": "max_pool", "reduce_window_sum": "avg_pool", "reduce_window_min": "min_pool"}
_GLOBAL_POOLS = {"reduce_max": "global_max_pool", "reduce_sum": "global_avg_pool"}
_PRODUCTS = {"conv_general_dilated": "conv", "dot_general": "matmul"}
_VIEWS = {"name", "reshape", "squeeze", "copy", "stop_gradient", "sharding_constraint"}


class Reused(Exception):
    """Two calls share one cached trace, so that their rows cannot be told apart: trace again with `isolated`."""


def follow(traced: Trace) -> tuple[list[Row], list[Field]]:
    """The rows of a trace, in the order of execution, and the fields of its last maps.

    Those are the outputs that are maps; if there is none, what the last operation read that left no map. Raises Reused,
    and ShapeError for a window that does not fit.
    """
    walk = _Walk(traced.calls, traced.root.token)
    variables = traced.jaxpr.invars[1:]
    captured = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    constants = Constants(traced.jaxpr, lambda variable: _array(captured.get(variable)))
    walk.run(traced.jaxpr, [_Value(IMAGE, stored=True), *[None] * len(variables)], constants=constants)
    return walk.rows, _maps(walk.outputs) or walk.maps


class _Value(NamedTuple):
    """An array that depends on the image: what its units see, and whether its numbers are counted already."""

    field: Field
    stored: bool


_Values = list[_Value | None]
_Written = list[tuple[Any, _Value | None]]


@dataclasses.dataclass(slots=True)
class Row:
    """One row, before parameters are given to it.

    call: the module call it belongs to. shape: of what it writes, input_shape: of what it reads, both without batch.
    field: what its units see, None where it does not depend on the image. window: that of a convolution or pooling,
    None where there is none or more than one. macs, activations, activation_bytes: of one image. owns: the parameters
    of the call's module are shown in the first of its rows that has this. only_params: the row shows nothing else.
    """

    call: Call
    op: str
    shape: tuple[int, ...]
    field: Field | None
    input_shape: tuple[int, ...] | None = None
    window: Window | None = None
    macs: int = 0
    activations: int = 0
    activation_bytes: int = 0
    owns: bool = True
    only_params: bool = False


def _row(call: Call, op: str, written: _Written, times: int) -> Row:
    """A row that writes these arrays `times` times; counted are those of the image that are no views of others."""
    fresh = [times * variable.aval.size for variable, value in written if value and not value.stored]
    widths = [variable.aval.dtype.itemsize for variable, value in written if value and not value.stored]
    variable, value = written[-1]
    shape = variable.aval.shape
    row = Row(call, op, shape[1:] if value else shape, value and receptive_field.placed(value.field, shape))
    row.activations, row.activation_bytes = sum(fresh), sum(map(math.prod, zip(fresh, widths, strict=True)))
    return row


class _Walk:
    """Goes through the equations in order, knowing in which module call it is, and collects rows."""

    def __init__(self, calls: dict[int, Call], call: int):
        self.rows: list[Row] = []
        self.maps: list[Field] = []
        self.outputs: _Values = []
        self._constants = Constants(None, lambda variable: None)
        self._calls = calls
        self._call = call
        self._entered: set[int] = set()
        self._macs: Counter[int] = Counter()
        self._windows: dict[int, list[Window]] = {}
        self._entering: dict[int, Field] = {}
        self._written: dict[int, _Written] = {}

    def run(
        self, jaxpr: Jaxpr, inputs: Sequence[_Value | None], times: int = 1, constants: Constants | None = None
    ) -> _Values:
        """The values of the outputs of `jaxpr`, which the network executes `times` times."""
        outside, self._constants = self._constants, constants or Constants(jaxpr, lambda variable: None)
        known = {variable: value for variable, value in zip(jaxpr.invars, inputs, strict=True) if value}

        def lookup(variables: Sequence[Any]) -> _Values:
            return [None if isinstance(variable, Literal) else known.get(variable) for variable in variables]

        for equation in jaxpr.eqns:
            outputs = self._equation(equation, lookup(equation.invars), times)
            known.update((variable, value) for variable, value in zip(equation.outvars, outputs, strict=False) if value)
        self._constants = outside
        return lookup(jaxpr.outvars)

    def _equation(self, equation: JaxprEqn, values: _Values, times: int) -> _Values:
        """The values of its outputs; none if it does not depend on the image."""
        if "name" in equation.params and (found := mark(equation)):
            return [self._marked(found, equation, values[0], times)]
        if not any(values):
            return []
        name = equation.primitive.name
        if control := _CONTROL.get(name):
            return control(self, equation.params, values, times)
        inner = None if has_rule(name) else called(equation)
        if inner is None:
            return self._operation(equation, values, times)
        return self.run(inner, values, times, self._constants.inside(equation, inner))

    def _operation(self, equation: JaxprEqn, values: _Values, times: int) -> _Values:
        operands = [(k, value.field) for k, value in enumerate(values) if value]
        read = self._taps(equation, operands)
        field = propagate(equation, operands, read)
        if not receptive_field.has_place(field) and (maps := _maps(values)):
            self.maps = maps
        stored = equation.primitive.name in _VIEWS and all(value.stored for value in values if value)
        call, count = self._calls[self._call], times * (read.macs if read else macs(equation))
        check_fit(equation, call.name)
        window = of_equation(equation, values[0] and receptive_field.placed(values[0].field, input_shape(equation)))
        if call.leaf:
            self._macs[call.token] += count
            self._windows.setdefault(call.token, []).extend([window] if window else [])
            return [_Value(field, stored)] * len(equation.outvars)
        if op := _bare(equation, values, field):
            row = _row(call, op, [(equation.outvars[0], _Value(field, stored))], times)
            row.macs, row.owns = count, count > 0
            row.input_shape, row.window = input_shape(equation)[1:], window
            self.rows.append(row)
        return [_Value(field, stored=True)] * len(equation.outvars)

    def _taps(self, equation: JaxprEqn, operands: list[tuple[int, Field]]) -> Taps | None:
        """What is read along an axis of the image, if the equation leaves that to known numbers."""
        read = taps(equation, [position for position, _ in operands], self._constants)
        return read if read and any(span.axis == read.axis for _, field in operands for span in field) else None

    def _marked(self, found: Mark, equation: JaxprEqn, value: _Value | None, times: int) -> _Value | None:
        call = self._calls.get(found.call)
        if call is None or (call.token in self._entered and not found.leaves):
            raise Reused
        if not found.leaves:
            if value and call.token not in self._entering:
                self._entering[call.token] = receptive_field.placed(value.field, input_shape(equation))
            if not found.remaining:
                self._entered.add(call.token)
            self._call = call.token
            return value
        self._written.setdefault(call.token, []).append((equation.outvars[0], value))
        left = None if found.remaining else self._leave(call, times)
        if value and left and left.field and receptive_field.has_place(left.field):
            value = value._replace(field=left.field)
        return value and value._replace(stored=value.stored or call.leaf)

    def _leave(self, call: Call, times: int) -> Row:
        self._call = self._call if call.parent is None else call.parent
        written = self._written.pop(call.token)
        if call.parent is None:
            self.outputs = [value for _, value in written]
        row = _row(call, call.op, written, times)
        row.macs, row.only_params = self._macs.pop(call.token, 0), not call.leaf
        row.input_shape, row.window = call.inputs[0][1:] if call.inputs else None, self._window(call, row)
        if row.only_params:
            row.activations = row.activation_bytes = 0
        elif row.window and row.window.groups is None and row.field and call.token in self._entering:
            row.field = receptive_field.widened(self._entering[call.token], row.field)
        self.rows.append(row)
        return row

    def _window(self, call: Call, row: Row) -> Window | None:
        """The only window of a leaf module; of one that multiplies nothing, what its receptive field tells."""
        found, entering = self._windows.pop(call.token, []), self._entering.get(call.token)
        if found or not call.leaf:
            return found[0] if len(found) == 1 else None
        if row.macs or entering is None or row.field is None or len(call.inputs) != 1:
            return None
        return of_fields(entering, row.field, call.inputs[0], (1, *row.shape))

    def _scan(self, params: dict[str, Any], values: _Values, times: int) -> _Values:
        body, length = params["jaxpr"].jaxpr, params["length"]
        consts, carried = scan_operands(params)
        along = values[consts + carried :]
        slices = [value and value._replace(field=receptive_field.sliced(value.field, length)) for value in along]
        carry = values[consts : consts + carried]
        for _ in range(length - 1):
            before, carry = carry, self._aside().run(body, [*values[:consts], *carry, *slices])[: len(carry)]
            if carry == before:
                break
        outputs = self.run(body, [*values[:consts], *carry, *slices], times * length)
        stacked = (
            value and value._replace(field=receptive_field.stacked(value.field)) for value in outputs[len(carry) :]
        )
        return [*outputs[: len(carry)], *stacked]

    def _while(self, params: dict[str, Any], values: _Values, times: int) -> _Values:
        body, consts = params["body_jaxpr"].jaxpr, values[params["cond_nconsts"] :]
        consts, carry = consts[: params["body_nconsts"]], consts[params["body_nconsts"] :]
        for _ in range(len(carry) + 1):
            after = self._aside().run(body, [*consts, *carry])
            if after == carry:
                break
            # How often it grows is not known.
            carry = [a if a == b else _Value(EVERYTHING, stored=False) for a, b in zip(after, carry, strict=True)]
        return self.run(body, [*consts, *carry], times)

    def _cond(self, params: dict[str, Any], values: _Values, times: int) -> _Values:
        walks = [(self._aside(), branch.jaxpr) for branch in params["branches"]]
        results = [walk.run(jaxpr, values[1:], times) for walk, jaxpr in walks]
        costliest = max((walk for walk, _ in walks), key=_Walk._work)
        self.rows += costliest.rows
        self._macs.update(costliest._macs)
        self._windows |= costliest._windows
        self.maps = costliest.maps or self.maps
        return [_either(outputs) for outputs in zip(*results, strict=True)]

    def _aside(self) -> _Walk:
        """A walk from here whose rows are not part of the result."""
        return _Walk(self._calls, self._call)

    def _work(self) -> int:
        return sum(row.macs for row in self.rows) + self._macs.total()


_CONTROL = {"scan": _Walk._scan, "while": _Walk._while, "cond": _Walk._cond}


def _array(captured: Any) -> np.ndarray | None:
    return None if captured is None or isinstance(captured, Tracer) else np.asarray(captured)


def _maps(values: _Values) -> list[Field]:
    return [value.field for value in values if value and receptive_field.has_place(value.field)]


def _either(values: Sequence[_Value | None]) -> _Value | None:
    present = [value for value in values if value]
    if not present:
        return None
    return _Value(receptive_field.unite([value.field for value in present]), all(value.stored for value in present))


def _bare(equation: JaxprEqn, values: _Values, field: Field) -> str:
    """The name of an operation worth a row of its own outside leaf modules, "" for all others."""
    name = equation.primitive.name
    if name in _PRODUCTS or name in _POOLS or name == "reduce_window":
        return _PRODUCTS.get(name) or _POOLS.get(name) or name
    if values[0] and receptive_field.has_place(values[0].field) and not receptive_field.has_place(field):
        flattens = name == "reshape" and not receptive_field.are_examples(field, output_shape(equation))
        return _GLOBAL_POOLS.get(name, "flatten" if flattens else "")
    return ""
