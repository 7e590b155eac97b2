"""One abstract trace of a Linen module: its equations, with marks where each module call enters and leaves.

JAX keeps the traces of jitted functions. Those made here are kept apart from those that training uses, because they
hold marks (`cnnjax.analysis.call_marks`) and zeros for weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import DenyList
from flax.errors import ModifyScopeVariableError
from jax.extend.core import Jaxpr
from jax.typing import DTypeLike

from cnnjax.analysis.call_marks import TRACE_CACHE, Call, CallMarker, Path, Results, is_array
from cnnjax.analysis.variables import OnDemand, initialized
from cnnjax.calling import in_mode
from cnnjax.errors import surviving
from cnnjax.lowering import lowering


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
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def counting(self, variables: Mapping[str, Any]) -> Trace:
        """With the numbers of these variables."""
        params = variables.get("params", {})
        return dataclasses.replace(
            self,
            params=_by_path(params, {call.path for call in self.calls.values()}),
            weights=_by_path(params, set(self.marked.values())),
            state=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves({**variables, "params": {}})),
            variables=variables,
        )


_Run = Callable[..., Results]


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
    with TRACE_CACHE("analysis"), lowering("xla"), contextlib.ExitStack() as contexts:
        subject = _TracedModule(*in_mode(module, train=train), images, train, contexts if isolated else None)
        traced = None if loss else _on_demand(subject, complete=complete)
        return traced or _with_variables(subject, loss=loss)


class _TracedModule(NamedTuple):
    """What is traced: a module, on images, with the arguments that give it its mode.

    isolation: holds what keeps the calls' traces apart.
    """

    module: nn.Module
    options: dict[str, Any]
    images: jax.ShapeDtypeStruct
    train: bool
    isolation: contextlib.ExitStack | None


def _on_demand(subject: _TracedModule, *, complete: bool) -> Trace | None:
    """The trace with variables made as they are asked for; None if the module has to be given them, or fails."""
    variables = OnDemand(writes=subject.train)
    traced = _traced(subject, {}, partial(_apply, mutable=True), variables)
    if variables.asks_more or traced.error is not None:
        return None
    if complete and not variables.is_complete:
        made, error = _variables(subject)
        return None if error else traced.counting(made)
    return traced


def _with_variables(subject: _TracedModule, *, loss: bool) -> Trace:
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


def _traced(subject: _TracedModule, variables: Any, run: _Run, made: OnDemand | None = None) -> Trace:
    """The trace of `run`, which calls the module with those variables, or with what is `made`."""
    recorder = CallMarker(subject.isolation, made)
    recorded = recorder.recording(partial(run, subject))
    closed, (left, (_, after)) = jax.make_jaxpr(recorded, return_shape=True)(subject.images, variables)
    calls = recorder.calls or {0: Call.of(subject.module, 0, path=(), inputs=(subject.images.shape,))}
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


def _variables(subject: _TracedModule) -> tuple[Any, Exception | None]:
    """The shapes of what initialization makes, or its exception."""

    def run(images: jax.Array) -> Any:
        return _initialize(subject, images, {})[1][1]

    try:
        with surviving():
            return initialized(run, subject.images), None
    except Exception as error:
        return {}, error


def _initialize(subject: _TracedModule, images: jax.Array, _: Any) -> Results:
    return [], ([], subject.module.init(jax.random.key(0), images, **subject.options))


def _apply(subject: _TracedModule, images: jax.Array, variables: Any, *, mutable: Any) -> Results:
    """Call the module, which may write to the collections `mutable`."""
    # Its key stands for those of all other names.
    rngs = {"params": jax.random.key(0)}
    outputs, after = subject.module.apply(variables, images, **subject.options, mutable=mutable, rngs=rngs)
    left = [after[name] for name in after if variables and name not in variables]
    return _arrays(left), (_arrays(outputs), after)


def _arrays(tree: Any) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if is_array(leaf)]


def _by_path(params: Any, paths: set[Path]) -> dict[Path, int]:
    """The number of parameters at each of `paths` itself, which tell modules (or parameters) from what is in them."""
    counts: dict[Path, int] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        path = tuple(key.key for key in keys if isinstance(key, jax.tree_util.DictKey))
        while path and path not in paths:
            path = path[:-1]
        counts[path] = counts.get(path, 0) + math.prod(leaf.shape)
    return counts
