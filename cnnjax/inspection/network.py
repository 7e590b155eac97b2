"""A network as pure functions of images, and a way into it: what its layers put out, and what follows from a change.

The network is traced once. In the trace the output of every module and of every activation function is a place that can
be read, or added to; `Network.look` evaluates the equations and does so. It works through `jit` and `remat`; what
happens inside loops (`nn.scan`) is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from cnnjax import calling
from cnnjax.analysis import analyse
from cnnjax.analysis.call_marks import TRACE_CACHE
from cnnjax.errors import ConfigError, unknown

MARK = "cnnjax module "
BOUNDED = {"relu": (0.0, None), "relu6": (0.0, 6.0), "tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
"""Activation functions that are flat somewhere, with the least and the largest value that they have (None: none)."""
OTHERS = ("gelu", "silu", "elu", "leaky_relu", "softplus", "hard_sigmoid", "hard_swish", "hard_silu", "selu", "celu")
ELEMENTWISE = (
    *("add", "add_any", "sub", "mul", "div", "max", "min", "neg", "exp", "log", "sqrt", "rsqrt", "integer_pow", "abs"),
    *(
        "convert_element_type",
        "stop_gradient",
        "select_n",
        "copy",
        "erf",
        "erfc",
        "tanh",
        "logistic",
        "clamp",
        "square",
    ),
    *("gt", "lt", "ge", "le", "eq", "ne", "and", "or", "not", "log1p", "sign", "pow", "name", "custom_jvp_call"),
)

Window = tuple[tuple[int, int], tuple[float, float], tuple[float, float]]
"""Size, jump and offset in rows and columns: unit i of a map sees `size` pixels from `offset + i * jump`."""


@dataclass(frozen=True)
class Layer:
    """A place in a network: a module by its dotted path, or an activation function, `path.relu`.

    kind: the module's class in snake case as `cnnjax describe` says it, "module", or the function's name. shape:
    without the batch. window: what each unit of a map sees; None where that is no window, or not known. same_as: the
    layer that has this very output, if an earlier one has.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    window: Window | None = None
    same_as: str | None = None

    @property
    def is_map(self) -> bool:
        """Whether its units have places: [height, width, units]."""
        return len(self.shape) == 3

    @property
    def is_activation(self) -> bool:
        """Whether it is an activation function."""
        return self.kind in BOUNDED or self.kind in OTHERS

    @property
    def units(self) -> int:
        """Channels of a map, or numbers of a vector."""
        return self.shape[-1]


@dataclass(frozen=True, eq=False)
class Network:
    """A network in use.

    module: any Linen module; variables: its collections. image_shape: (height, width, channels) of an image in 0..1 as
    `forward` takes it. forward: (variables, images [B, H, W, C]) -> outputs [B, K]; it calls the module once.
    seen_shape: of what the module sees of an image.
    """

    module: nn.Module
    variables: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    forward: Callable[[Any, jax.Array], jax.Array]
    seen_shape: tuple[int, int, int]

    @classmethod
    def of(cls, module: nn.Module, variables: Mapping[str, Any], image_shape: tuple[int, int, int]) -> Network:
        """A module that takes images as they are and returns [B, K]."""

        def forward(variables: Any, images: jax.Array) -> jax.Array:
            return calling.apply(module, variables, images)[0]

        return cls(module, variables, image_shape, forward, image_shape)

    def outputs(self, images: jax.Array) -> jax.Array:
        """[B, K] of images [B, H, W, C] in 0..1."""
        return self.forward(self.variables, images)

    def look(
        self,
        images: jax.Array,
        names: Sequence[str],
        *,
        added: Mapping[str, jax.Array] | None = None,
        variables: Any = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """(outputs [B, K], what the layers of those names put out, [B, ...] each); pure, to be traced.

        added: to the outputs of layers, by name, before anything else sees them. Raises ConfigError for a name that is
        no layer's.
        """
        variables = self.variables if variables is None else variables
        for name in {*names, *(added or {})}:
            self.layer(name)
        closed, flat = self._traced(variables, images)
        numbers = {number: layer.name for number, layer in self._places.items()}
        found: dict[str, jax.Array] = {}
        count = -1

        def visit(value: jax.Array) -> jax.Array:
            nonlocal count
            count += 1
            name = numbers.get(count)
            if name is None:
                return value
            if added and name in added:
                value = value + added[name].reshape(value.shape).astype(value.dtype)
            if name in names:
                found[name] = value
            return value

        (outputs,) = _evaluated(closed.jaxpr, closed.consts, flat, visit)
        return outputs, {name: found[name] for name in names}

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """All places, in the order in which they are computed; the network's own output is not among them."""
        return tuple(self._places.values())

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises ConfigError, nearest names first."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ConfigError(unknown("layer of the network", name, [layer.name for layer in self.layers]))

    def chosen(self, names: Sequence[str], *, maps: bool, most: int = 4) -> tuple[Layer, ...]:
        """The layers of those names; without names at most so many, spread over the depth, activations if it has any.

        maps: whether only maps will do. Raises ConfigError for an unknown name, and a vector where it must be a map.
        """
        given = [self.layer(name) for name in names]
        if maps and (flat := [layer.name for layer in given if not layer.is_map]):
            raise ConfigError(f"--layer {flat[0]}: its units have no place; give one that is a map")
        if given:
            return tuple(given)
        own = [layer for layer in self.layers if layer.same_as is None and (layer.is_map or not maps)]
        some = [layer for layer in own if layer.is_activation] or own
        return tuple(spread(some, most))

    def _traced(self, variables: Any, images: jax.Array) -> tuple[ClosedJaxpr, list[jax.Array]]:
        with TRACE_CACHE("inspection"):
            closed = jax.make_jaxpr(lambda v, x: _marked(self.forward, v, x))(variables, images)
        return closed, jax.tree.leaves((variables, images))

    @cached_property
    def _places(self) -> dict[int, Layer]:
        """The layers by the number of their place in the order of evaluation."""
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), dict(self.variables))
        images: Any = jax.ShapeDtypeStruct((BATCH, *self.image_shape), jnp.float32)
        closed, flat = self._traced(shapes, images)
        rows = {row.path: row for row in analyse(self.module, self.seen_shape).layers if row.path}
        namer = _Namer(rows, is_same_size=self.seen_shape[:2] == self.image_shape[:2])
        sources: list[_Source] = [frozenset()] * (len(flat) - 1)
        namer.follow(closed.jaxpr, [*sources, frozenset([_IMAGE])])
        return namer.places


BATCH = 3
"""Images of the abstract batch whose trace gives the layers; arrays that do not begin with it are no layer's."""
_IMAGE = ""
_Source = frozenset[str] | None
"""The layers that an array was computed from, element by element; none of a constant; None where that is not known."""


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / max(1, most - 1))] for k in range(most)]


def _marked(forward: Callable[..., jax.Array], variables: Any, images: jax.Array) -> jax.Array:
    """`forward` with a mark on the output of every module."""

    def mark(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        output, module = method(*args, **kwargs), context.module
        if context.method_name != "__call__" or not module.path or not isinstance(output, jax.Array):
            return output
        return checkpoint_name(output, MARK + ".".join(module.path))

    with nn.intercept_methods(mark):
        return forward(variables, images)


def _evaluated(jaxpr: Jaxpr, consts: Sequence[Any], values: Sequence[Any], visit: Callable[..., Any]) -> list[Any]:
    """The outputs of the equations; every place is `visit`ed in order."""
    held: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    held |= zip(jaxpr.invars, values, strict=True)
    for equation in jaxpr.eqns:
        given = [var.val if isinstance(var, Literal) else held[var] for var in equation.invars]
        inner = None if _place(equation) else _called(equation)
        if inner is not None and _has_places(inner.jaxpr):
            made = _evaluated(inner.jaxpr, inner.consts, given, visit)
        else:
            bound = equation.primitive.get_bind_params(equation.params)
            # Versions of JAX before 0.10 give the functions apart.
            functions, params = bound if isinstance(bound, tuple) else ((), bound)
            with equation.ctx.manager:
                made = equation.primitive.bind(*functions, *given, **params)
            made = list(made) if equation.primitive.multiple_results else [made]
        if _place(equation):
            made = [visit(made[0]), *made[1:]]
        held |= zip(equation.outvars, made, strict=True)
    return [var.val if isinstance(var, Literal) else held[var] for var in jaxpr.outvars]


def _place(equation: JaxprEqn) -> str | None:
    """`MARK` and a path, or the name of an activation function; None of any other equation."""
    primitive, params = equation.primitive.name, equation.params
    if primitive == "name":
        return params["name"] if params["name"].startswith(MARK) else None
    if primitive in ("tanh", "logistic"):
        return {"tanh": "tanh", "logistic": "sigmoid"}[primitive]
    if primitive == "max" and any(isinstance(var, Literal) and var.val == 0 for var in equation.invars):
        return "relu"
    if primitive in ("jit", "pjit"):
        return params["name"] if params["name"] in (*BOUNDED, *OTHERS) else None
    if primitive == "custom_jvp_call":
        inner = params["call_jaxpr"].jaxpr.eqns
        return _place(inner[0]) if len(inner) == 1 and inner[0].primitive.name in ("jit", "pjit") else None
    return None


def _called(equation: JaxprEqn) -> ClosedJaxpr | None:
    """What an equation calls once, in its place."""
    if equation.primitive.name not in ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"):
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ()) if isinstance(inner, Jaxpr) else None


def _has_places(jaxpr: Jaxpr) -> bool:
    return any(
        _place(each) or ((inner := _called(each)) is not None and _has_places(inner.jaxpr)) for each in jaxpr.eqns
    )


class _Namer:
    """Names the places of a trace, in the order in which `_evaluated` visits them."""

    def __init__(self, rows: Mapping[str, Any], *, is_same_size: bool):
        self.rows, self.is_same_size = rows, is_same_size
        self.places: dict[int, Layer] = {}
        self._windows: dict[str, Window | None] = {_IMAGE: ((1, 1), (1.0, 1.0), (0.0, 0.0))}
        self._visited = 0
        self._origin: dict[Any, str] = {}

    def follow(self, jaxpr: Jaxpr, given: Sequence[_Source]) -> list[_Source]:
        held: dict[Any, _Source] = dict.fromkeys(jaxpr.constvars, frozenset())
        held |= zip(jaxpr.invars, given, strict=True)

        def source(var: Any) -> _Source:
            return frozenset() if isinstance(var, Literal) else held[var]

        for equation in jaxpr.eqns:
            sources = [source(var) for var in equation.invars]
            place, inner = _place(equation), _called(equation)
            if place is None and inner is not None:
                made = self.follow(inner.jaxpr, sources)
                self._origin |= {
                    out: self._origin[var]
                    for out, var in zip(equation.outvars, inner.jaxpr.outvars, strict=True)
                    if not isinstance(var, Literal) and var in self._origin
                }
            else:
                made = [_joined(equation, sources)] * len(equation.outvars)
            if place is not None:
                name = self._named(equation, place, made[0])
                made = [frozenset([name])] if name else made
            held |= zip(equation.outvars, made, strict=True)
        return [source(var) for var in jaxpr.outvars]

    def _named(self, equation: JaxprEqn, place: str, source: _Source) -> str | None:
        """The name of the next place; None where its array is no layer's output."""
        number, self._visited = self._visited, self._visited + 1
        shape = _shape(equation.outvars[0])
        if len(shape) not in (2, 4) or shape[0] != BATCH:
            return None
        path, before = place.removeprefix(MARK), equation.invars[0]
        is_module = place.startswith(MARK)
        if not is_module:
            scope = next(iter(source)) if source and len(source) == 1 else self._scope(equation)
            path = f"{scope}.{place}" if scope else place
        name, again = path, 1
        while name in {layer.name for layer in self.places.values()}:
            again += 1
            name = f"{path}{'#' if is_module else ''}{again}"
        same = self._origin.get(before) if is_module and not isinstance(before, Literal) else None
        row = self.rows.get(path) if is_module and again == 1 else None
        kind = place if not is_module else row.op if row else "module"
        if same is not None:
            kind = next(layer.kind for layer in self.places.values() if layer.name == same)
        window = self._window(row, source)
        self._windows[name] = window
        self._origin[equation.outvars[0]] = same or name
        shown = window if self.is_same_size and len(shape) == 4 else None
        self.places[number] = Layer(name, kind, shape[1:], shown, same)
        return name

    def _scope(self, equation: JaxprEqn) -> str:
        """The dotted path of the module whose code the equation is, as far as JAX's name stack tells it."""
        known = {path[: at.start()] for path in self.rows for at in re.finditer(r"\.|$", path)}
        path = ""
        for part in str(equation.source_info.name_stack).split("/"):
            longer = f"{path}.{part}" if path else part
            path = longer if longer in known else path
        return path

    def _window(self, row: Any, source: _Source) -> Window | None:
        if row is not None:
            is_window = all(row.jump) and not row.global_context
            return (row.receptive_field, row.jump, row.offset) if is_window else None
        if not source or any(self._windows.get(name) is None for name in source):
            return None
        windows: list[Any] = [self._windows[name] for name in source]
        if len({jump for _, jump, _ in windows}) != 1:
            return None
        first = tuple(min(offset[axis] for _, _, offset in windows) for axis in (0, 1))
        last = tuple(max(offset[axis] + size[axis] for size, _, offset in windows) for axis in (0, 1))
        size = (int(last[0] - first[0]), int(last[1] - first[1]))
        return size, windows[0][1], (float(first[0]), float(first[1]))


def _shape(var: Any) -> tuple[int, ...]:
    return tuple(var.aval.shape)


def _joined(equation: JaxprEqn, sources: Sequence[_Source]) -> _Source:
    """What the equation's first output was computed from element by element."""
    if all(source == frozenset() for source in sources):
        return frozenset()
    shape = _shape(equation.outvars[0])
    elementwise = equation.primitive.name in ELEMENTWISE or _place(equation) is not None
    same = all(
        source == frozenset() or _shape(var) == shape for var, source in zip(equation.invars, sources, strict=True)
    )
    if not elementwise or not same or any(source is None for source in sources):
        return None
    return frozenset().union(*(source for source in sources if source is not None))
