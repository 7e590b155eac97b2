"""One abstract trace of a Linen module: its equations, with marks where each module call enters and leaves.

The marks are `jax.ad_checkpoint.checkpoint_name`, an identity that every JAX transformation keeps, put around the
arrays of each call by a Flax interceptor, and on each parameter where a module asks for it. So rows and weights are
told apart inside `jit`, `remat`, `scan` and `vmap` too.

JAX keeps the traces of jitted functions. Those made here stay apart from those that training uses (a context that is
part of the key), for they are marked and their weights are zeros.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import DenyList, Scope, meta
from flax.errors import ModifyScopeVariableError
from flax.linen.module import InterceptorContext
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Jaxpr, JaxprEqn
from jax.typing import DTypeLike

from cnnjax.analysis.variables import OnDemand, initialized
from cnnjax.calling import in_mode
from cnnjax.config import snake_case
from cnnjax.lowering import lowering

_CACHE = jax.make_user_context(None)
_TOKENS = itertools.count()
_MARK = re.compile(r"cnnjax (enter|leave) (\d+) (\d+)")
_WEIGHT = "cnnjax weight "

Path = tuple[str, ...]


class Mark(NamedTuple):
    """What one marking equation says: the call it belongs to, and how many more arrays of it are to come."""

    leaves: bool
    call: int
    remaining: int


@dataclasses.dataclass(slots=True)
class Call:
    """One call of a module: its place in the parameter tree, its class, and the call that made it.

    `batch_group` is whose statistics a batch normalization shares: "global", "device" or a number of examples.
    """

    token: int
    path: Path
    module: str
    parent: int | None
    inputs: tuple[tuple[int, ...], ...]
    leaf: bool = True
    batch_group: str | int | None = None

    @property
    def name(self) -> str:
        """The dotted path, or the class of the network itself, which has none."""
        return ".".join(self.path) or self.module

    @property
    def op(self) -> str:
        """The class in the snake case of the tables: "conv", "batch_norm"."""
        return snake_case(self.module)


@dataclasses.dataclass(slots=True)
class Trace:
    """Equations and the arrays they capture, calls by token, the network's call, and what there is of variables.

    The first argument of the equations is the image; the first `left` of their outputs are what modules left for a
    loss. `params` are the numbers of each module's own parameters by path, `weights` those of each parameter, name
    included, `state` those of other variables; `marked` tells which parameter a mark is on.
    If the module raised an error, the equations are those before it.
    """

    jaxpr: Jaxpr
    consts: Sequence[Any]
    calls: dict[int, Call]
    root: Call
    marked: dict[int, Path]
    left: int
    isolated: bool
    error: Exception | None
    failed: Call
    params: dict[Path, int] = dataclasses.field(default_factory=dict)
    weights: dict[Path, int] = dataclasses.field(default_factory=dict)
    state: int = 0

    def counting(self, variables: Mapping[str, Any]) -> Trace:
        """With the numbers of these variables."""
        params = variables.get("params", {})
        return dataclasses.replace(
            self,
            params=_by_path(params, {call.path for call in self.calls.values()}),
            weights=_by_path(params, set(self.marked.values())),
            state=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves({**variables, "params": {}})),
        )


# What a call leaves for a loss, its outputs, and variables.
_Results = tuple[list[jax.Array], tuple[list[jax.Array], Mapping[str, Any]]]
_Run = Callable[..., _Results]


def trace(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    train: bool,
    dtype: DTypeLike = jnp.float32,
    loss: bool = False,
    isolated: bool = False,
    complete: bool = True,
) -> Trace:
    """Trace a forward pass of `module` on a batch of one image, with the variables that initialization would make.

    `train` is passed on as `module.__call__` takes it (`cnnjax.calling`). An exception of the module is kept in the
    result, with the equations before it. With `loss` what modules leave in collections of their own (auxiliary logits,
    penalties) comes out. With `isolated` no module call reuses the trace of another one (as modules under
    `flax.linen.jit` may): slower. Not `complete`: parameters and state that this pass does not read may be left out,
    which saves an initialization.
    """
    images = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    # Whatever a convolution becomes on this machine, it is one operation here.
    with _CACHE("analysis"), lowering("xla"), contextlib.ExitStack() as contexts:
        subject = _Subject(*in_mode(module, train=train), images, train, contexts if isolated else None)
        traced = None if loss else _on_demand(subject, complete=complete)
        return traced or _with_variables(subject, loss=loss)


class _Subject(NamedTuple):
    """What is traced: a module, on images, with the arguments that give it its mode.

    isolation: holds what keeps the calls' traces apart.
    """

    module: nn.Module
    options: dict[str, Any]
    images: jax.ShapeDtypeStruct
    train: bool
    isolation: contextlib.ExitStack | None


def _on_demand(subject: _Subject, *, complete: bool) -> Trace | None:
    """The trace with variables made as they are asked for; None if the module has to be given them, or fails."""
    variables = OnDemand(writes=subject.train)
    traced = _traced(subject, {}, partial(_apply, mutable=True), variables)
    if variables.asks_more or traced.error is not None:
        return None
    if complete and not variables.is_complete:
        made, error = _variables(subject)
        return None if error else traced.counting(made)
    return traced


def _with_variables(subject: _Subject, *, loss: bool) -> Trace:
    """The trace with the variables that initialization makes."""
    variables, error = _variables(subject)
    if error is not None:
        # There is nothing to apply: initialization tells what is wrong, and in which layer.
        return _traced(subject, {}, _initialize)
    state = [name for name in variables if name != "params"]
    mutable: Any = DenyList("params") if loss else state if subject.train else []
    traced = _traced(subject, variables, partial(_apply, mutable=mutable))
    if isinstance(traced.error, ModifyScopeVariableError) and not mutable:
        # A module that knows no inference.
        traced = _traced(subject, variables, partial(_apply, mutable=state))
    return traced.counting(variables)


def _traced(subject: _Subject, variables: Any, run: _Run, made: OnDemand | None = None) -> Trace:
    """The trace of `run`, which calls the module with those variables, or with what is `made`."""
    recorder = _Recorder(subject.isolation, made)
    recorded = recorder.recording(partial(run, subject))
    closed, (left, (_, after)) = jax.make_jaxpr(recorded, return_shape=True)(subject.images, variables)
    calls = recorder.calls or {0: Call(0, (), type(subject.module).__name__, None, (subject.images.shape,))}
    root = [call for call in calls.values() if call.parent is None][-1]
    traced = Trace(
        closed.jaxpr,
        closed.consts,
        calls,
        root,
        marked=recorder.marked,
        left=len(left),
        isolated=subject.isolation is not None,
        error=recorder.error,
        failed=recorder.failed or root,
    )
    return traced.counting(after)


def _variables(subject: _Subject) -> tuple[Any, Exception | None]:
    """The shapes of what initialization makes, or its exception."""

    def run(images: jax.Array) -> Any:
        return _initialize(subject, images, {})[1][1]

    try:
        return initialized(run, subject.images), None
    except Exception as error:
        return {}, error


def _initialize(subject: _Subject, images: jax.Array, _: Any) -> _Results:
    return [], ([], subject.module.init(jax.random.key(0), images, **subject.options))


def _apply(subject: _Subject, images: jax.Array, variables: Any, *, mutable: Any) -> _Results:
    """Call the module, which may write to the collections `mutable`."""
    # Its key stands for those of all other names.
    rngs = {"params": jax.random.key(0)}
    outputs, after = subject.module.apply(variables, images, **subject.options, mutable=mutable, rngs=rngs)
    left = [after[name] for name in after if variables and name not in variables]
    return _arrays(left), (_arrays(outputs), after)


def mark(equation: JaxprEqn) -> Mark | None:
    """The mark that `equation` carries, None for any other equation."""
    found = _MARK.fullmatch(str(equation.params.get("name", "")))
    return Mark(found[1] == "leave", int(found[2]), int(found[3])) if found else None


def weight_mark(equation: JaxprEqn) -> int | None:
    """The key in `Trace.marked` of the parameter that `equation` marks, None for any other equation."""
    text = str(equation.params.get("name", ""))
    return int(text.removeprefix(_WEIGHT)) if text.startswith(_WEIGHT) else None


class _Recorder:
    """Flax interceptor that numbers the module calls and marks parameters and the arrays that enter and leave calls."""

    def __init__(self, isolation: contextlib.ExitStack | None, variables: OnDemand | None) -> None:
        self.calls: dict[int, Call] = {}
        self.marked: dict[int, Path] = {}
        self.error: Exception | None = None
        self.failed: Call | None = None
        self._isolation = isolation
        self._variables = variables
        self._open: list[Call] = []

    def recording(self, run: Callable[..., _Results]) -> Callable[..., _Results]:
        """`run` under this interceptor; its exception is kept, and it returns nothing then."""

        def recorded(*args: Any) -> _Results:
            try:
                with nn.intercept_methods(self):
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
            self._isolation.enter_context(_CACHE(next(_TOKENS)))
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
            return jax.tree.map(lambda leaf: checkpoint_name(leaf, mark) if _is_array(leaf) else leaf, value)

        vars(scope)["param"] = param

    def _continues(self, path: tuple[str, ...]) -> bool:
        """Whether a call at `path` is a method of the module that runs, or Flax's wrapper in a lifted transform."""
        return bool(self._open) and self._open[-1].path == path

    def _begin(self, module: nn.Module, inputs: Any) -> Call:
        parent = self._open[-1] if self._open else None
        if parent is not None:
            parent.leaf = False
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(inputs) if _is_array(leaf))
        above = None if parent is None else parent.token
        call = Call(next(_TOKENS), module.path, type(module).__name__, above, shapes)
        if call.op == "batch_norm":
            call.batch_group = getattr(module, "group", "global")
        self.calls[call.token] = call
        self._open.append(call)
        return call


def _given(scope: Scope, make: Callable[..., Any], name: str, *args: Any, unbox: bool = True, **kwargs: Any) -> Any:
    """A parameter; one that is there is given without asking how it would be made."""
    if not scope.has_variable("params", name):
        return make(name, *args, unbox=unbox, **kwargs)
    scope.reserve(name, "params")
    value = scope.get_variable("params", name)
    return meta.unbox(value) if unbox else value


def _arrays(tree: Any) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_array(leaf)]


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _marked(tree: Any, text: str) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    arrays = [position for position, leaf in enumerate(leaves) if _is_array(leaf)]
    for remaining, position in zip(reversed(range(len(arrays))), arrays, strict=True):
        leaves[position] = checkpoint_name(leaves[position], f"{text} {remaining}")
    return structure.unflatten(leaves)


def _by_path(params: Any, paths: set[Path]) -> dict[Path, int]:
    """The number of parameters at each of `paths` itself, which tell modules (or parameters) from what is in them."""
    counts: dict[Path, int] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        path = tuple(key.key for key in keys if isinstance(key, jax.tree_util.DictKey))
        while path and path not in paths:
            path = path[:-1]
        counts[path] = counts.get(path, 0) + math.prod(leaf.shape)
    return counts
