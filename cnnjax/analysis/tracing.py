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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import Scope
from flax.linen.module import InterceptorContext
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Jaxpr, JaxprEqn
from jax.typing import DTypeLike

from cnnjax.calling import in_mode
from cnnjax.config import snake_case
from cnnjax.lowering import lowering

_JAX_INITIALIZERS = {jax.nn.initializers.zeros.__module__, jax.nn.initializers.lecun_normal().__module__}
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
    """Equations, calls by token, the network's call, own parameters by path, number of other variables.

    `weights` are the numbers of each parameter by its path, name included; `marked` tells which one a mark is on. The
    first `left` outputs of the equations are what modules left for a loss. If the module raised an error, the equations
    are those before it.
    """

    jaxpr: Jaxpr
    calls: dict[int, Call]
    root: Call
    params: dict[Path, int]
    weights: dict[Path, int]
    marked: dict[int, Path]
    left: int
    isolated: bool
    state: int
    error: Exception | None
    failed: Call


def trace(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    train: bool,
    dtype: DTypeLike = jnp.float32,
    loss: bool = False,
    isolated: bool = False,
) -> Trace:
    """Trace initialization and forward pass of `module` together, on a batch of one image.

    `train` is passed on as `module.__call__` takes it (`cnnjax.calling`). An exception of the module is kept in the
    result. With `loss` a forward pass with those parameters follows, and what modules leave in collections of their own
    then (auxiliary logits, penalties) comes out. With `isolated` no module call reuses the trace of another one (as
    modules under `flax.linen.jit` may): slower.
    """
    contexts = contextlib.ExitStack()
    recorder = _Recorder(contexts if isolated else None, train=train)
    module, options = in_mode(module, train=train)

    def forward(images: jax.Array) -> Any:
        try:
            with nn.intercept_methods(recorder):
                key = jax.random.key(0)
                recorder.usual_key = type(key)
                variables = module.init_with_output(key, images, **options)[1]
                left = _left(module, variables, images, options) if loss else []
            recorder.error = None
            return left, variables
        except Exception as error:
            if error is not recorder.error:
                recorder.error, recorder.failed = error, None
            return [], {}

    images = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    # Whatever a convolution becomes on this machine, it is one operation here.
    with _CACHE("analysis"), lowering("xla"), contexts:
        closed, (left, variables) = jax.make_jaxpr(forward, return_shape=True)(images)
    if recorder.postponed and recorder.error is None:
        variables = jax.eval_shape(partial(module.init, **options), jax.random.key(0), images)
    weights: Any = variables.get("params", {})
    params = _by_path(weights, {call.path for call in recorder.calls.values()})
    sizes = _by_path(weights, set(recorder.marked.values()))
    state = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves({**variables, "params": {}}))
    calls = recorder.calls or {0: Call(0, (), type(module).__name__, None, (images.shape,))}
    root = [call for call in calls.values() if call.parent is None][-1]
    return Trace(
        closed.jaxpr,
        calls,
        root,
        params,
        weights=sizes,
        marked=recorder.marked,
        left=len(left),
        isolated=isolated,
        state=state,
        error=recorder.error,
        failed=recorder.failed or root,
    )


def _left(module: nn.Module, variables: Any, images: jax.Array, options: dict[str, Any]) -> list[jax.Array]:
    """The arrays in collections that a forward pass adds to those of initialization."""
    _, after = module.apply(variables, images, **options, mutable=True, rngs={"params": jax.random.key(0)})
    return [leaf for name in after if name not in variables for leaf in jax.tree.leaves(after[name]) if _is_array(leaf)]


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

    def __init__(self, isolation: contextlib.ExitStack | None, *, train: bool) -> None:
        self.postponed = False
        self.usual_key: type = object
        self.calls: dict[int, Call] = {}
        self.marked: dict[int, Path] = {}
        self.error: Exception | None = None
        self.failed: Call | None = None
        self._train = train
        self._isolation = isolation
        self._open: list[Call] = []

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

    def _watch(self, scope: Scope) -> None:
        """Let `scope` mark its parameters, and make zeros where it should call one of JAX's initializers.

        Tracing those would take most of the time; they promise an array of the shape and type given. A user's own
        initializer is traced as it is.
        """
        if "param" in vars(scope):
            return
        create = scope.param

        def param(name: str, initializer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            known = getattr(initializer, "__module__", None) in _JAX_INITIALIZERS
            made = partial(_zeros, self.usual_key, initializer) if known else initializer
            value = create(name, made, *args, **kwargs)
            token = next(_TOKENS)
            self.marked[token] = (*scope.path, name)
            return jax.tree.map(
                lambda leaf: checkpoint_name(leaf, f"{_WEIGHT}{token}") if _is_array(leaf) else leaf, value
            )

        vars(scope)["param"] = param
        self._hide_initialization(scope)

    def _hide_initialization(self, scope: Scope) -> None:
        """Let a module that calls others be told at inference that this is none of their first calls.

        What it would do for initialization alone (make the parameters of heads that only training runs) is no part of
        an inference; that there is such a part is noted.
        """
        ask = scope.get_flag

        def get_flag(key: str, *default: Any) -> Any:
            value = ask(key, *default)
            if key == "initializing" and value and not self._train and self._open and not self._open[-1].leaf:
                self.postponed = True
                return False
            return value

        vars(scope)["get_flag"] = get_flag

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


def _zeros(usual: type, initializer: Callable[..., Any], key: jax.Array, shape: Sequence[int], *args: Any) -> Any:
    # A key of another kind is one of many, under vmap: it makes as many arrays.
    return jnp.zeros(shape, *args[:1]) if type(key) is usual else initializer(key, shape, *args)


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
