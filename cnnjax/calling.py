"""How a Linen module is called: in which mode, with which random streams, and which of its variables are kept.

The one place that calls networks, a user's own included. A module says by the signature of `__call__` how it is told
whether it is trained: `train`, `training`, `is_training`, or `deterministic`, which is the opposite; or a field of that
name; or not at all.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from flax.core import Scope
from flax.core.scope import DenyList
from flax.errors import InvalidRngError
from jax.sharding import get_abstract_mesh

from cnnjax.errors import ConfigError, surviving

AXIS = "batch"
"""The axis over which a batch is split, as modules name it (`nn.BatchNorm(axis_name="batch")`)."""

MODES = {"train": True, "training": True, "is_training": True, "deterministic": False}
"""Arguments that say in which mode a module runs, with their value in training."""

# What modules and Flax's layers are told at inference, as an argument or a field.
_AT_INFERENCE = {name: not training for name, training in MODES.items()} | {"use_running_average": True}

_OTHER_MODES = {"train", "deterministic", "eval", "evaluate", "evaluation", "infer", "inference", "test", "testing"}
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# What modules leave to be looked at: no part of a state.
_LOOKED_AT = DenyList(("intermediates", "perturbations"))

Streams = Callable[[str], jax.Array]
"""The key of a random stream, by its name."""
Path = tuple[str, ...]


def has_modes(module: nn.Module) -> bool:
    """Whether the module has an argument or a field for training. Raises ConfigError as `in_mode` does."""
    called, options = in_mode(module, train=False)
    return called is not module or bool(options)


def in_mode(module: nn.Module, *, train: bool) -> tuple[nn.Module, dict[str, Any]]:
    """The module and the arguments to call it with, beside the images, to train it or not.

    Raises ConfigError, with the line of its `__call__`, where that needs something else, or cannot be told the mode.
    """
    modes: dict[str, Any] = {name: value == train for name, value in MODES.items()}
    own = {field.name for field in dataclasses.fields(module)} & modes.keys()
    fields = {name: modes[name] for name in own if isinstance(getattr(module, name), bool)}
    arguments = _arguments(module)
    # An argument that is None unless given stands for the field of that name (`nn.merge_param`).
    told = [name for name in modes if name in arguments and not (name in fields and arguments[name].default is None)]
    return module.clone(**fields) if fields else module, {name: modes[name] for name in told}


def check_modes(module: nn.Module) -> None:
    """Raise ConfigError, with the line, where a part of the module would run in one mode only without being asked."""
    arguments = _arguments(module)
    unnamed = [name for name, parameter in arguments.items() if parameter.kind == inspect.Parameter.VAR_KEYWORD]
    if unnamed and not arguments.keys() & MODES.keys():
        raise ConfigError(
            f"{located(module)} takes **{unnamed[0]}, which does not say how it is told that it is trained; name the "
            f"argument: {', '.join(MODES)}"
        )
    for name, parameter in arguments.items():
        said = name.removeprefix("is_").removesuffix("_mode")
        if isinstance(parameter.default, bool) and said in _OTHER_MODES and name not in MODES:
            raise ConfigError(
                f"{located(module)} has {name} = {parameter.default}, which nothing would set: call it one of "
                f"{', '.join(MODES)}, or make it a field of the class"
            )
    layers: Any = module.layers[1:] if isinstance(module, nn.Sequential) else ()
    for position, layer in enumerate(layers, 1):
        taken = {parameter.name: parameter for parameter in _parameters(layer)}
        if unset := [name for name in MODES if name in taken and taken[name].default is not None]:
            raise ConfigError(
                f"nn.Sequential cannot pass {unset[0]} to layers[{position}], {located(layer)}; write a module that "
                "calls its layers one by one"
            )


def _arguments(module: nn.Module) -> dict[str, inspect.Parameter]:
    """What `module.__call__` takes beside the images, by name. Raises ConfigError where it needs something else."""
    parameters = _parameters(module)
    if not isinstance(module, nn.Sequential):
        _check_images(module)
    for parameter in parameters:
        by_position = parameter.kind == inspect.Parameter.POSITIONAL_ONLY
        needed = parameter.default is parameter.empty and parameter.kind not in _ANY_NUMBER
        if by_position if parameter.name in MODES else needed:
            raise ConfigError(
                f"{located(module)} asks for {parameter.name}: networks are called as module(images) or "
                f"module(images, train=...), by one of the names {', '.join(MODES)}; give others a default"
            )
    return {parameter.name: parameter for parameter in parameters}


def _parameters(module: Any) -> list[inspect.Parameter]:
    """What a layer can be called with beside the images; of nn.Sequential, its first layer, which alone gets it."""
    if isinstance(module, nn.Sequential):
        return _parameters(module.layers[0]) if module.layers else []
    if not isinstance(module, nn.Module) or not callable(module):
        return []
    return list(inspect.signature(type(module).__call__).parameters.values())[2:]


def _check_images(module: Any) -> None:
    if not callable(module):
        raise ConfigError(f"{type(module).__name__} has no __call__(self, images)")
    taken = list(inspect.signature(type(module).__call__).parameters.values())[1:]
    if not taken or taken[0].kind == inspect.Parameter.KEYWORD_ONLY:
        raise ConfigError(f"{located(module)} must take the images first")


def located(module: Any) -> str:
    """`Mine.__call__ (file.py line 12)`."""
    function = inspect.unwrap(type(module).__call__)
    code = getattr(function, "__code__", None)
    name = f"{type(module).__name__}.__call__"
    return f"{name} ({code.co_filename} line {code.co_firstlineno})" if code else name


def init(module: nn.Module, key: jax.Array, images: jax.Array, *, streams: Streams | None = None) -> dict[str, Any]:
    """The module's first variables, by collection, all that is kept of them from step to step.

    What modules `sow` is not. key: of the parameters, and of every stream that falls back on theirs. streams: where a
    module lets no other stream through.
    """
    called, options = in_mode(module, train=False)
    names = {"params"}
    while True:
        recorder = _StreamRecorder()
        rngs = {name: streams(name) for name in sorted(names) if streams} | {"params": key}
        try:
            with surviving(), nn.intercept_methods(recorder):
                variables: Any = called.init(rngs, images, mutable=_LOOKED_AT, **options)
        except InvalidRngError:
            if streams is None or not recorder.drawn - names:
                raise
            names |= recorder.drawn
            continue
        return _without(nn.unbox(variables), recorder.sown)


def apply(
    module: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    *,
    train: bool = False,
    streams: Streams | None = None,
    left: Sequence[str] = (),
    inference: Callable[[str], bool] | None = None,
    shown: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """What the module returns for the images, and what it left: (outputs, variables by collection).

    In training that is every collection of `variables` but the parameters, as the module changed it, and the
    collections named in `left`; in inference nothing, for nothing may change. streams: of the random streams that the
    module draws from, whatever their names; "dropout" there is always. None where it may draw none. inference: whether
    the module at a dotted path runs as at inference while the network is trained; the network itself does not. shown:
    more of its arguments, by name.

    Raises ConfigError where a module makes a variable in training that initialization did not make.
    """
    called, options = in_mode(module, train=train)
    options = options | dict(shown or {})
    kept = [name for name in variables if name != "params"] if train else []
    names = {"dropout"} if streams else set()
    spread = False
    while True:
        recorder = _StreamRecorder()
        rngs = {name: streams(name) for name in sorted(names) if streams}

        def run(rngs: dict[str, jax.Array] = rngs) -> Any:
            mutable: Any = [*kept, *left] or False
            outputs = called.apply(dict(variables), images, mutable=mutable, rngs=rngs, **options)
            return outputs if mutable else (outputs, {})

        try:
            with surviving(), nn.intercept_methods(recorder), _watched(train, inference), _inferring(inference):
                outputs, after = _on_one(run) if spread else run()
        except NameError:
            # JAX's word for an axis that is not there: under jit the batch is whole, so its axis has one part.
            if spread or AXIS in get_abstract_mesh().manual_axes:
                raise
            spread = True
            continue
        except InvalidRngError as error:
            if streams is None:
                drawn = ", ".join(sorted(recorder.drawn))
                raise ConfigError(
                    f"{located(module)} draws random numbers ({drawn}) where it is not trained; draw them in training "
                    "only"
                ) from error
            if not recorder.drawn - names:
                raise
        else:
            if streams is None or not recorder.asked - names:
                if train and (watch := _WATCH.get()) is not None:
                    watch.drawn |= recorder.drawn
                return outputs, _changed(called, variables, after, kept, recorder.sown)
        names |= recorder.asked


class Watch:
    """What the modules of a network were told while it was trained (`watching`).

    called: each module that was called, by its path. drawn: the random streams that were drawn from.
    """

    def __init__(self) -> None:
        self.drawn: set[str] = set()
        self.called: dict[Path, nn.Module] = {}
        self._untold: dict[Path, str] = {}

    @property
    def untold(self) -> list[str]:
        """`Mine.__call__ (file.py line 12) has train = False`, of each class of modules that were called without their
        argument for training, whose default is that of evaluation; not of cnnjax's own that have no use for it."""
        told = {path for path, module in self.called.items() if _tellable(module)}
        own = {path for path, module in self.called.items() if not type(module).__module__.startswith("cnnjax.")}
        matter = [
            said
            for path, said in self._untold.items()
            if path in own or any(len(below) > len(path) and below[: len(path)] == path for below in told)
        ]
        return list(dict.fromkeys(matter))

    def note(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Note a call of `module` with these arguments."""
        self.called[module.path] = module
        try:
            given = inspect.signature(type(module).__call__).bind(module, *args, **kwargs).arguments
        except TypeError:
            return  # The call itself raises it.
        for parameter in _parameters(module):
            name, default = parameter.name, parameter.default
            if name in MODES and name not in given and isinstance(default, bool) and default != MODES[name]:
                self._untold[module.path] = f"{located(module)} has {name} = {default}"


def _tellable(module: nn.Module) -> bool:
    return any(parameter.name in _AT_INFERENCE for parameter in _parameters(module))


_WATCH: ContextVar[Watch | None] = ContextVar("_WATCH", default=None)


@contextmanager
def watching() -> Iterator[Watch]:
    """Within, what modules of networks in training are told, but for those that `apply` runs as at inference."""
    watch = Watch()
    before = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(before)


def _watched(train: bool, inference: Callable[[str], bool] | None) -> AbstractContextManager[Any]:
    """While it lasts, calls of modules are noted where somebody watches and the network is trained."""
    watch = _WATCH.get()
    if watch is None or not train:
        return nullcontext()

    def call(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name == "__call__" and not (inference and inference(".".join(module.path))):
            watch.note(module, args, kwargs)
        return method(*args, **kwargs)

    return nn.intercept_methods(call)


def _inferring(chosen: Callable[[str], bool] | None) -> AbstractContextManager[Any]:
    """While it lasts, modules at the paths that are `chosen` are called as at inference."""
    if chosen is None:
        return nullcontext()

    def call(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path or not chosen(".".join(module.path)):
            return method(*args, **kwargs)
        given = inspect.signature(type(module).__call__).bind(module, *args, **kwargs)
        given.arguments |= {name: value for name, value in _AT_INFERENCE.items() if name in given.arguments}
        held = {name: value for name in _AT_INFERENCE if isinstance(value := getattr(module, name, None), bool)}
        try:
            for name in held:
                object.__setattr__(module, name, _AT_INFERENCE[name])  # a module is frozen while it is bound
            return method(*given.args[1:], **given.kwargs)
        finally:
            for name, value in held.items():
                object.__setattr__(module, name, value)

    return nn.intercept_methods(call)


def _on_one(run: Callable[[], Any]) -> Any:
    """`run()` with a batch axis of size one. Nothing is mapped over it, so the result is the same."""
    return jax.vmap(lambda _: run(), in_axes=0, out_axes=None, axis_name=AXIS)(jnp.zeros(1))


def _changed(
    module: nn.Module, before: Mapping[str, Any], after: Mapping[str, Any], kept: Sequence[str], sown: set[Path]
) -> dict[str, Any]:
    """The variables after a call, the kept collections without what was sown into them."""
    changed = dict(after)
    for collection in kept:
        own = _without({collection: after.get(collection, before[collection])}, sown)
        old, new = _flat({collection: before[collection]}), _flat(own)
        if more := sorted(new.keys() - old.keys()):
            raise ConfigError(
                f"{located(module)} makes the variable {'.'.join(more[0])} in training only; make it in "
                "inference too, where initialization runs"
            )
        whole = {path: _like(leaf, old[path], module, path) for path, leaf in (old | new).items()}
        changed[collection] = traverse_util.unflatten_dict(whole).get(collection, {})
    return changed


def _like(new: Any, old: Any, module: nn.Module, path: Path) -> Any:
    """The variable `new` as an array that can stand where `old` stood."""
    if new is traverse_util.empty_node:
        return new
    kinds = [jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", value) for value in (old, new)]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{located(module)} changes the variable {'.'.join(path)} from {kinds[0]} to {kinds[1]}; it must keep its "
            "shape and type from step to step, whatever the batch"
        )
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), new)


def _without(variables: Mapping[str, Any], sown: set[Path]) -> dict[str, Any]:
    """The variables but for those at the `sown` paths, without collections of which nothing is left."""
    if not sown:
        return dict(variables)
    flat = _flat(variables).items()
    left = {path: leaf for path, leaf in flat if not any(path[:depth] in sown for depth in range(len(path) + 1))}
    held: Any = traverse_util.unflatten_dict(left)
    return held


def _flat(tree: Mapping[str, Any]) -> dict[Path, Any]:
    flat: Any = traverse_util.flatten_dict(dict(tree), keep_empty_nodes=True)
    return flat


class _StreamRecorder:
    """Flax interceptor that notes the random streams modules ask for, and what they sow.

    drawn: streams drawn from; asked: those, and those asked whether they are there. sown: paths of variables,
    collection first, that were reserved by nothing but `sow`.
    """

    def __init__(self) -> None:
        self.drawn: set[str] = set()
        self.asked: set[str] = set()
        self._reserved: set[Path] = set()
        self._declared: set[Path] = set()

    @property
    def sown(self) -> set[Path]:
        return self._reserved - self._declared

    def __call__(self, method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        scope = context.module.scope
        if scope is not None and "make_rng" not in vars(scope):
            self._watch(scope)
        return method(*args, **kwargs)

    def _watch(self, scope: Scope) -> None:
        make_rng, has_rng, reserve, variable = scope.make_rng, scope.has_rng, scope.reserve, scope.variable

        def drawn(name: str = "params") -> Any:
            self.drawn.add(name)
            self.asked.add(name)
            return make_rng(name)

        def asked(name: str) -> bool:
            if name != "params":
                self.asked.add(name)
            return has_rng(name)

        def reserved(name: str, col: str | None = None) -> None:
            if col not in (None, "params"):
                self._reserved.add((str(col), *scope.path, name))
            reserve(name, col)

        def declared(col: str, name: str, *args: Any, **kwargs: Any) -> Any:
            self._declared.add((col, *scope.path, name))
            return variable(col, name, *args, **kwargs)

        vars(scope).update(make_rng=drawn, has_rng=asked, reserve=reserved, variable=declared)
