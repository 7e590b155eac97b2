"""Marks in a trace: where each module call enters and leaves, and which parameter is which.

A mark is `jax.ad_checkpoint.checkpoint_name`, an identity that every JAX transformation keeps. A Flax interceptor puts
one around each array that enters or leaves a call, and on each parameter where a module asks for it. So calls and
weights are told apart inside `jit`, `remat`, `scan` and `vmap` too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import Scope, meta
from flax.linen.module import InterceptorContext
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import JaxprEqn

from cnnjax.analysis.variables import OnDemand
from cnnjax.config import snake_case
from cnnjax.errors import surviving

TRACE_CACHE = jax.make_user_context(None)
"""JAX keeps traces of jitted functions. `with TRACE_CACHE(value):` keeps those made inside apart from all others."""
_TOKENS = itertools.count()
_MARK = re.compile(r"cnnjax (enter|leave) (\d+) (\d+)")
_WEIGHT = "cnnjax weight "

Path = tuple[str, ...]
# What a call leaves for a loss, its outputs, and variables.
Results = tuple[list[jax.Array], tuple[list[jax.Array], Any]]


class Mark(NamedTuple):
    """What one marking equation says: the call it belongs to, and how many more arrays of it are to come."""

    leaves: bool
    call: int
    remaining: int


@dataclasses.dataclass(slots=True)
class Call:
    """One call of a module.

    token: identifies the call. path: the module's place in the parameter tree, () for the network itself. module: the
    name of its class. op: what the layer table calls it (`op_of`). parent: the token of the call that made this one.
    inputs: the shapes of the arrays it was given. leaf: whether it calls no other module. batch_group: which examples
    share the statistics of a batch normalization: "global", "device" or a number of examples.
    """

    token: int
    path: Path
    module: str
    op: str
    inputs: tuple[tuple[int, ...], ...]
    parent: int | None = None
    leaf: bool = True
    batch_group: str | int | None = None

    @classmethod
    def of(
        cls,
        module: nn.Module,
        token: int,
        *,
        path: Path,
        inputs: tuple[tuple[int, ...], ...],
        parent: int | None = None,
    ) -> Call:
        """A call of `module` on arrays of these shapes."""
        op = op_of(module)
        group = getattr(module, "group", "global") if op == "batch_norm" else None
        return cls(token, path, type(module).__name__, op, inputs, parent, batch_group=group)

    @property
    def name(self) -> str:
        """The dotted path, or the class of the network itself, which has none."""
        return ".".join(self.path) or self.module


def op_of(module: nn.Module) -> str:
    """What the layer table calls a module: its class's `layer_op`, or the class's name in snake case ("batch_norm")."""
    named = getattr(type(module), "layer_op", None)
    return named if isinstance(named, str) else snake_case(type(module).__name__)


def mark(equation: JaxprEqn) -> Mark | None:
    """The mark that `equation` carries, None for any other equation."""
    found = _MARK.fullmatch(str(equation.params.get("name", "")))
    return Mark(found[1] == "leave", int(found[2]), int(found[3])) if found else None


def weight_mark(equation: JaxprEqn) -> int | None:
    """The key in `Trace.marked` of the parameter that `equation` marks, None for any other equation."""
    text = str(equation.params.get("name", ""))
    return int(text.removeprefix(_WEIGHT)) if text.startswith(_WEIGHT) else None


class CallMarker:
    """Flax interceptor that numbers the module calls and marks parameters and the arrays that enter and leave calls."""

    def __init__(self, isolation: contextlib.ExitStack | None, variables: OnDemand | None) -> None:
        self.calls: dict[int, Call] = {}
        self.marked: dict[int, Path] = {}
        self.error: Exception | None = None
        self.failed: Call | None = None
        self._isolation = isolation
        self._variables = variables
        self._open: list[Call] = []

    def recording(self, run: Callable[..., Results]) -> Callable[..., Results]:
        """`run` under this interceptor; its exception is kept, and it returns nothing then."""

        def recorded(*args: Any) -> Results:
            try:
                with surviving(), nn.intercept_methods(self):
                    results = run(*args)
                # Others before it were handled by the module that they came to.
                self.error = None
                return results
            except Exception as error:
                if error is not self.error:
                    self.error, self.failed = error, None
                return [], ([], {})

        return recorded

    def __call__(self, method: Callable[..., Any], args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        module = context.module
        if module.scope is not None:
            self._watch(module.scope)
        if self._isolation is not None:
            self._isolation.enter_context(TRACE_CACHE(next(_TOKENS)))
        if context.method_name == "setup" or module.scope is None or self._continues(module.path):
            return method(*args, **kwargs)
        call = self._begin(module, (args, kwargs))
        try:
            args, kwargs = _marked((args, kwargs), f"cnnjax enter {call.token}")
            return _marked(method(*args, **kwargs), f"cnnjax leave {call.token}")
        except Exception as error:
            if error is not self.error:
                self.error, self.failed = error, call
            raise
        finally:
            self._open.pop()
            if self._variables is not None and not self._open:
                self._variables.finish()

    def _watch(self, scope: Scope) -> None:
        """Let `scope` mark its parameters."""
        if "param" in vars(scope):
            return
        if self._variables is not None:
            self._variables.watch(scope)
        read = scope.param if self._variables is not None else partial(_given, scope, scope.param)

        def param(name: str, *args: Any, **kwargs: Any) -> Any:
            value = read(name, *args, **kwargs)
            token = next(_TOKENS)
            self.marked[token] = (*scope.path, name)
            mark = f"{_WEIGHT}{token}"
            return jax.tree.map(lambda leaf: checkpoint_name(leaf, mark) if is_array(leaf) else leaf, value)

        vars(scope)["param"] = param

    def _continues(self, path: tuple[str, ...]) -> bool:
        """Whether a call at `path` is a method of the module that runs, or Flax's wrapper in a lifted transform."""
        return bool(self._open) and self._open[-1].path == path

    def _begin(self, module: nn.Module, inputs: Any) -> Call:
        parent = self._open[-1] if self._open else None
        if parent is not None:
            parent.leaf = False
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(inputs) if is_array(leaf))
        above = None if parent is None else parent.token
        call = Call.of(module, next(_TOKENS), path=module.path, parent=above, inputs=shapes)
        self.calls[call.token] = call
        self._open.append(call)
        return call


def _given(scope: Scope, make: Callable[..., Any], name: str, *args: Any, unbox: bool = True, **kwargs: Any) -> Any:
    """A parameter. One that is given already is returned without calling its initializer."""
    if not scope.has_variable("params", name):
        return make(name, *args, unbox=unbox, **kwargs)
    scope.reserve(name, "params")
    value = scope.get_variable("params", name)
    return meta.unbox(value) if unbox else value


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers, not a random key or a plain value."""
    return isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _marked(tree: Any, text: str) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    arrays = [position for position, leaf in enumerate(leaves) if is_array(leaf)]
    for remaining, position in zip(reversed(range(len(arrays))), arrays, strict=True):
        leaves[position] = checkpoint_name(leaves[position], f"{text} {remaining}")
    return structure.unflatten(leaves)
