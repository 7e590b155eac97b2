"""The steps of a training traced on abstract arrays before it begins, so that what would fail fails at once."""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import ModifyScopeVariableError
from jax.core import Tracer
from jax.extend.core import Jaxpr
from jax.sharding import AbstractMesh, AxisType, use_abstract_mesh

from cnnjax.calling import AXIS, Watch, check_modes, watching
from cnnjax.data.entries import PARTNERS
from cnnjax.errors import CnnjaxError, ConfigError, EndsProcess, ShapeError, surviving, users_line
from cnnjax.losses import Loss
from cnnjax.machine import without_collection
from cnnjax.nn import BatchNormalization, InvertedDropout
from cnnjax.training.chunks import convolves
from cnnjax.training.estimate import estimate_step
from cnnjax.training.evaluated import evaluations, of_others
from cnnjax.training.fitting import first_tries, fit_step, fits
from cnnjax.training.state import TrainState
from cnnjax.training.step import EMPTY, StepFunctions, eval_step, init_state, train_step, with_weights_of


class Rehearsed(NamedTuple):
    """What a rehearsal finds.

    state: shapes and types of the state. foreign: whether a training step has convolutions of XLA's own
    (`chunks.convolves`). warnings: of layers that a training step calls as in evaluation.
    """

    state: TrainState
    foreign: bool
    warnings: tuple[str, ...] = ()


def rehearse(
    functions: StepFunctions,
    lane: Mapping[str, Any],
    batch: Mapping[str, jax.ShapeDtypeStruct],
    *,
    image_shape: tuple[int, int, int],
    devices: int = 1,
    fixed: Mapping[str, Any] = EMPTY,
) -> Rehearsed:
    """Trace the first state, one training step and one evaluation step: the functions that will be compiled.

    lane, batch, fixed: shapes and types of what the step will be given, all entries and partners included. Raises
    ConfigError that says what fails, and in which line of a user's code, and where all batch statistics stay as they
    were since modules are not told that they are trained.
    """
    check_modes(functions.network)
    with without_collection():
        state = _traced("initialization", partial(init_state, functions, image_shape=image_shape), lane)
        _check_parameters(state.params)
        for fitting, arguments in _fitting(functions, state, batch, image_shape):
            _traced("the initialization on the first batch", fitting, *arguments)
        foreign, warnings = rehearse_step(functions, state, batch, devices=devices, fixed=fixed)
        with _on(devices):
            _traced("the evaluation step", partial(eval_step, functions), state, _evaluated(batch), dict(fixed))
            for name in state.estimated:
                what = f"the estimate of batch statistics for the weights {name!r}"
                _traced(what, partial(estimate_step, functions, name=name), state, dict(batch))
        for name in _evaluating(functions):
            what = f"what the method {name!r} evaluates"
            _check_unchanged(what, state, _traced(what, partial(with_weights_of, functions, name=name), state))
    return Rehearsed(state, foreign, warnings)


def rehearse_step(
    functions: StepFunctions,
    state: TrainState,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    *,
    devices: int = 1,
    fixed: Mapping[str, Any] = EMPTY,
) -> tuple[bool, tuple[str, ...]]:
    """Trace one training step from a state of these shapes: whether it has convolutions of XLA's own, and warnings of
    layers that it calls as in evaluation.

    Raises as `rehearse` does.
    """
    with without_collection(), _on(devices), watching() as watch:
        step = partial(train_step, functions)
        jaxpr, (after, _) = _trace("the training step", step, state, dict(batch), dict(fixed))
        _check_unchanged("a training step", state, after)
        frozen = functions.inference is not None
        return convolves(jaxpr), _as_in_evaluation(watch, stay=_statistics_stay(jaxpr, state), frozen=frozen)


def _statistics_stay(jaxpr: Jaxpr, state: TrainState) -> bool:
    """Whether the network has batch statistics, and a training step gives back all of them as it took them."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    pairs = zip(leaves, jaxpr.invars[: len(leaves)], jaxpr.outvars[: len(leaves)], strict=True)
    own = [before is after for ((field, *_), _), before, after in pairs if field == _BATCH_STATS]
    return bool(own) and all(own)


_BATCH_STATS = jax.tree_util.GetAttrKey("batch_stats")


def _as_in_evaluation(watch: Watch, *, stay: bool, frozen: bool) -> tuple[str, ...]:
    """Warnings of layers that run as in evaluation while the network is trained.

    stay: whether all its batch statistics stay as they were. frozen: whether the experiment says so of some of its
    modules. Raises ConfigError where they stay and modules are not told that they are trained.
    """
    untold = watch.untold
    if stay and untold and not frozen:
        raise ConfigError(
            f"a training step leaves all batch statistics as they were, so BatchNorm is always as in evaluation: "
            f"{untold[0]}, and is called without it; pass train on to the layers that have it, or say there what is "
            "meant"
        )
    warnings = [
        f"{said}, and is called without it in training, so it runs as in evaluation: pass train on, or say there what "
        "is meant"
        for said in untold
    ]
    normalizing = [path for path, each in watch.called.items() if isinstance(each, _NORMALIZING)]
    dropping = [path for path, each in watch.called.items() if isinstance(each, _DROPPING) and _is_open(each.rate)]
    if stay and normalizing and not frozen and not untold:
        warnings.append(
            f"{'.'.join(normalizing[0])}: a training step leaves all batch statistics as they were, so BatchNorm is "
            "always as in evaluation: pass train on to the layers that have it (use_running_average=not train), unless "
            "that is meant"
        )
    if dropping and not watch.drawn and not frozen and not untold:
        warnings.append(
            f"{'.'.join(dropping[0])}: a training step draws no random numbers, so dropout is always off, as in "
            "evaluation: pass train on to the layers that have it (deterministic=not train), unless that is meant"
        )
    return tuple(warnings)


_NORMALIZING = (linen.BatchNorm, BatchNormalization)
_DROPPING = (linen.Dropout, InvertedDropout)


def _is_open(rate: Any) -> bool:
    """Whether dropout at that rate, which may be traced, drops anything."""
    return not isinstance(rate, int | float) or rate > 0


def _on(devices: int) -> Any:
    """A context in which steps are traced as they are on so many devices."""
    return use_abstract_mesh(AbstractMesh((devices,), (AXIS,), axis_types=(AxisType.Auto,)))


def _evaluating(functions: StepFunctions) -> list[str]:
    """The names of the methods, or of the optimizer, that have weights of their own to evaluate."""
    return list(of_others(tuple(functions.methods.values()), functions.optim))


def steps_alike(
    functions: StepFunctions,
    lane: Mapping[str, Any],
    batch: Mapping[str, jax.ShapeDtypeStruct],
    *,
    image_shape: tuple[int, int, int],
    fixed: Mapping[str, Any] = EMPTY,
) -> tuple[str, frozenset[str]]:
    """A digest of the first state, the training step and the evaluation step, and the lanes that these read.

    Experiments with equal digests compute the same of the same batches, the same `fixed` arrays and the same values of
    those lanes. What cannot be compared (functions in the parameters of an operation) is left out of the digest.
    """
    start = partial(init_state, functions, image_shape=image_shape)
    state = jax.eval_shape(start, lane)
    seen = _evaluated(batch)
    steps = (
        (start, (lane,)),
        (partial(train_step, functions), (state, dict(batch), dict(fixed))),
        (partial(eval_step, functions), (state, seen, dict(fixed))),
        *((partial(with_weights_of, functions, name=name), (state,)) for name in _evaluating(functions)),
        *((partial(estimate_step, functions, name=name), (state, dict(batch))) for name in state.estimated),
        *_fitting(functions, state, batch, image_shape),
    )
    # Equal weights may be measured under other names.
    names = evaluations(tuple(functions.methods.values()), functions.optim)
    content, read = hashlib.sha256(repr(names).encode()), set()
    for function, arguments in steps:
        closed = jax.make_jaxpr(function)(*arguments)
        content.update(re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)).encode())
        for constant in closed.consts:
            content.update(np.asarray(constant).tobytes())
        used = {id(x) for equation in closed.jaxpr.eqns for x in equation.invars}
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(arguments)]
        named = zip(paths, closed.jaxpr.invars, strict=True)
        read |= {name for path, x in named for name in lane if id(x) in used and path.endswith(f"[{name!r}]")}
    return content.hexdigest(), frozenset(read)


def _fitting(functions: StepFunctions, state: TrainState, batch: Mapping[str, Any], image_shape: tuple[int, ...]):
    """The fitting of the first weights with the arguments it is traced with, where there is one."""
    if fits(functions):
        tries = jax.eval_shape(partial(first_tries, functions, image_shape))
        yield partial(fit_step, functions), (state, tries, dict(batch))


def _evaluated(batch: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch that is evaluated, from those of one that is trained on."""
    own = {name: shape for name, shape in batch.items() if name != "index" and not name.startswith(PARTNERS)}
    return own | {"valid": jax.ShapeDtypeStruct(batch["position"].shape, jnp.bool_)}


def _traced(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes of what it returns."""
    return _trace(what, function, *arguments)[1]


def _trace(what: str, function: Callable[..., Any], *arguments: Any) -> tuple[Jaxpr, Any]:
    try:
        with surviving():
            traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        _check_not_kept(traced.consts)
        return traced.jaxpr, shapes
    except ShapeError as error:
        raise ShapeError(f"{error}{users_line(error)}") from error
    except CnnjaxError as error:
        path = getattr(error, "path", "")
        at_loss = "" if path or not _is_of_loss(error) else "loss"
        lead = f"{at_loss}: " if at_loss else ""
        raise ConfigError(f"{lead}{error}{users_line(error)}", path=path or at_loss) from error
    except EndsProcess as error:
        raise ConfigError(f"{what} {error}{users_line(error)}: leave that out") from error
    except Exception as error:
        cause = " ".join(str(error).split("\n")[0].split())
        # A name that Python does not know is in `name`; else it is an axis.
        no_axis = isinstance(error, NameError) and error.name is None
        hint = f"; name the axis {AXIS!r}, or leave axis_name out: a batch is whole in itself" if no_axis else ""
        if isinstance(error, ModifyScopeVariableError) and '"batch_stats"' in cause:
            hint = "; BatchNorm is in training mode in evaluation: give it use_running_average=not train"
        said = f"{what} fails: {type(error).__name__}: {cause}{hint}{users_line(error)}"
        if _is_of_loss(error):
            raise ConfigError(f"loss: {said}", path="loss") from error
        raise ConfigError(said) from error


def _is_of_loss(error: Exception) -> bool:
    """Whether the error was raised in a loss, or in what that called."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(isinstance(frame.f_locals.get("self"), Loss) for frame in frames)


def _check_not_kept(constants: Sequence[Any]) -> None:
    """Raise ConfigError where a step uses an array that was made while something else was traced, and kept since."""
    for constant in constants:
        if isinstance(constant, Tracer):
            try:
                jnp.add(constant, 0)
            except jax.errors.UnexpectedTracerError as error:
                made = re.search(r"created on line (.*?):(\d+):\d+ \((.*)\)", str(error))
                where = f" (in {made[3]}, {made[1]} line {made[2]})" if made else ""
                raise ConfigError(
                    "an array that is kept from one call to the next, in a global or by functools.cache, was made "
                    f"while the network was traced, and is no array outside of that{where}; make it with NumPy, or "
                    "anew in each call"
                ) from None


def _check_parameters(params: Any) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ConfigError(
                f"the parameter {name} is {leaf.dtype}: parameters are trained, so they must be real floating-point "
                "numbers; keep others as variables of another collection (self.variable)"
            )


def _check_unchanged(what: str, before: TrainState, after: TrainState) -> None:
    """Raise ConfigError where a step, or `what` it is, gives arrays of other shapes or types than it took."""
    old, new = (dict(jax.tree_util.tree_leaves_with_path(state)) for state in (before, after))
    for path in old | new:
        shapes = [f"{at[path].dtype}{list(at[path].shape)}" if path in at else "nothing" for at in (old, new)]
        if shapes[0] != shapes[1]:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            half = path in old and old[path].dtype in (jnp.bfloat16, jnp.float16)
            hint = "; keep parameters float32 (param_dtype), and compute in half precision (dtype)" if half else ""
            raise ConfigError(f"{what} changes {name} from {shapes[0]} to {shapes[1]}{hint}")
