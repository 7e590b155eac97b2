"""The variables of a network whose forward pass is traced: their shapes, without running an initializer.

`initialized` asks initialization for them, which is a trace of its own. `OnDemand` does without: it makes each one when
a forward pass asks for it, which is all that most networks do with them. One that does more (asks whether a variable
is there or may be written, or lifts a transformation over its variables) has to be given all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import Scope
from flax.core.scope import LazyRng
from flax.linen.module import InterceptorContext
from jax.ad_checkpoint import checkpoint_name

_JAX_INITIALIZERS = {jax.nn.initializers.zeros.__module__, jax.nn.initializers.lecun_normal().__module__}


class AsksMoreError(Exception):
    """A module does with its variables what it cannot do before all of them are there."""


class OnDemand:
    """Makes variables as modules ask for them. writes: whether the pass may write to its state.

    is_complete: whether no module asked if this is initialization, which may make more variables than a forward pass
    reads. asks_more: whether AsksMoreError was raised, whatever became of it.
    """

    def __init__(self, *, writes: bool) -> None:
        self.is_complete, self.asks_more = True, False
        self._writes = writes
        self._root: Scope | None = None
        self._is_making = self._is_over = False

    def watch(self, scope: Scope) -> None:
        """Let `scope` make the variables that it is asked for."""
        self._root = self._root or scope.root
        if scope.root is not self._root:
            self._ask_more()
        for name in ("has_variable", "get_variable", "put_variable", "variable", "get_flag", "is_mutable_collection"):
            vars(scope)[name] = partial(getattr(self, f"_{name}"), getattr(scope, name), scope)
        vars(scope)["_populate_collections"] = partial(self._populate, scope._populate_collections)
        vars(scope)["param"] = partial(self._param, scope)
        vars(scope)["make_rng"] = partial(_key, scope, scope.make_rng)

    def finish(self) -> None:
        """The pass is over, and the variables may be looked at."""
        self._is_over = True

    def _ask_more(self) -> NoReturn:
        self.asks_more = True
        raise AsksMoreError

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        before, self._is_making = self._is_making, True
        try:
            yield
        finally:
            self._is_making = before

    def _param(self, scope: Scope, name: str, initializer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._making():
            return Scope.param(scope, name, partial(_zeros, initializer), *args, **kwargs)

    def _variable(
        self,
        own: Callable[..., Any],
        scope: Scope,
        collection: str,
        name: str,
        make: Any = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        with self._making():
            return own(collection, name, make and partial(_unknown, make), *args, **options)

    def _has_variable(self, own: Callable[..., Any], scope: Scope, collection: str, name: str) -> bool:
        return own(collection, name) or (False if self._is_making else self._ask_more())

    def _get_variable(self, own: Callable[..., Any], scope: Scope, collection: str, name: str, *default: Any) -> Any:
        with self._making():
            there = scope.has_variable(collection, name)
        return own(collection, name) if there else self._ask_more()

    def _put_variable(self, own: Callable[..., Any], scope: Scope, collection: str, name: str, value: Any) -> None:
        with self._making():
            allowed = self._writes and scope.has_variable(collection, name)
        if not self._is_making and not allowed:
            self._ask_more()
        with self._making():
            own(collection, name, value)

    def _is_mutable_collection(self, own: Callable[..., Any], scope: Scope, collection: str) -> bool:
        return own(collection) if self._is_making else self._ask_more()

    def _get_flag(self, own: Callable[..., Any], scope: Scope, key: str, *default: Any) -> Any:
        self.is_complete &= key != "initializing"
        return own(key, *default)

    def _populate(self, own: Callable[..., Any]) -> None:
        # What a lifted transformation does first.
        if not self._is_over:
            self._ask_more()
        own()


def _unknown(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `make` makes, under a name: like any variable, no constant that the equations tell."""
    made = make(*args, **kwargs)
    return jax.tree.map(lambda x: checkpoint_name(x, "cnnjax variable") if isinstance(x, jax.Array) else x, made)


def _zeros(initializer: Callable[..., Any], key: jax.Array, *args: Any, **kwargs: Any) -> Any:
    """Zeros as `initializer` promises them; JAX's own make an array of the shape and type given."""
    if getattr(initializer, "__module__", None) in _JAX_INITIALIZERS and not kwargs and args:
        return jnp.zeros(*args[:2])
    shapes = jax.eval_shape(lambda: initializer(key, *args, **kwargs))
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def initialized(run: Callable[..., Any], images: jax.ShapeDtypeStruct) -> Any:
    """The shapes of the variables that `run` makes of images by initializing a module."""
    with nn.intercept_methods(_unlike):
        return jax.eval_shape(run, images)


def _unlike(method: Callable[..., Any], args: Any, kwargs: Any, context: InterceptorContext) -> Any:
    """Flax interceptor that leaves out what takes most of an initialization's time: its random numbers."""
    scope = context.module.scope
    if scope is not None and "param" not in vars(scope):
        vars(scope)["param"] = partial(_made, scope.param)
        vars(scope)["make_rng"] = partial(_key, scope, scope.make_rng)
    return method(*args, **kwargs)


def _made(own: Callable[..., Any], name: str, initializer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return own(name, partial(_zeros, initializer), *args, **kwargs)


def _key(scope: Scope, own: Callable[..., jax.Array], name: str = "params") -> jax.Array:
    """A key: as only its type is asked here, one does for all."""
    found = scope.rngs.get(name, scope.rngs.get("params"))
    return own(name) if found is None else LazyRng.create(found).rng
