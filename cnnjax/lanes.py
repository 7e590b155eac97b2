"""Lanes at work: their values as scalars of a state, and whether the code that uses them can do with traced ones.

In a step a lane is a traced scalar, bound into a copy of the experiment (`config.bind`). Code that asks for its value
while a step is traced (`if`, a shape, `float(...)`) cannot have one: it is found by tracing it, without arrays.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import FrameType
from typing import Any

import numpy as np

from cnnjax.config import Config, bind, classes, configs, is_lane, lanes
from cnnjax.errors import ConfigError

Values = Mapping[str, Any]
"""Lane values by path, plain or traced."""

OF_LIBRARIES = sys.stdlib_module_names | {"jax", "jaxlib", "flax", "optax", "chex", "numpy", "pydantic", "cnnjax"}


def lane_values(config: Config) -> dict[str, np.ndarray]:
    """The config's lanes as the scalars of a state: uint32 for a seed, else float32.

    Raises ConfigError for a number that is 0 or infinite in float32 alone, and a seed that uint32 does not hold.
    """
    return {path: _scalar(path, value) for path, value in lanes(config).items()}


def _scalar(path: str, value: float) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            scalar = np.asarray(value, _dtype(path))
    except OverflowError:
        raise ConfigError(f"{path} = {value!r}: a seed is at least 0 and below 2**32") from None
    # XLA takes numbers with fewer digits than others, which are next to 0, for 0.
    lost = scalar.dtype == np.float32 and 0 < abs(scalar) < np.finfo(np.float32).tiny
    if not np.isfinite(scalar) or (scalar == 0) != (value == 0) or lost:
        raise ConfigError(f"{path} = {value!r}: a step computes with float32, in which it is {0.0 if lost else scalar}")
    return scalar


def _dtype(path: str) -> type[np.generic]:
    return np.uint32 if path.rpartition(".")[2] == "seed" else np.float32


def own_lanes(config: Config) -> list[str]:
    """The paths of lanes that lie in a config of a class of a user's own, or in one that it holds."""
    own = [f"{path}." if path else "" for path, node in configs(config) if not is_built_in(type(node))]
    return [path for path in lanes(config) if any(path.startswith(outer) for outer in own)]


def is_built_in(member: type[Config]) -> bool:
    """Whether a class is of this package."""
    return member.__module__.startswith("cnnjax.")


def overridden_lanes(config: Config) -> list[str]:
    """A warning for each plain field that a base class of its config declares as a lane."""
    if not any(map(_overridden, classes(config))):
        return []
    return [f"{path}.{what}" for path, node in configs(config) for what in _overridden(type(node))]


@lru_cache(maxsize=1024)
def _overridden(cls: type[Config]) -> tuple[str, ...]:
    """What is said of each plain field of a class that a base declares as a lane, without its path."""
    bases, warnings = [base for base in cls.__mro__ if issubclass(base, Config)], []
    for name, field in cls.model_fields.items():
        base = next((base for base in bases if is_lane(base.model_fields.get(name))), None)
        if base is not None and not is_lane(field):
            default = "..." if field.is_required() else repr(field.default)
            warnings.append(
                f"{name}: {cls.__name__} declares a plain field where {base.__name__} has a lane, so "
                f"every value of it is a program of its own; to share one: {name}: float = lane({default})"
            )
    return tuple(warnings)


# --- by tracing


class StepConfig(Config):
    """Base of the configs that a step uses: of a class with lanes it is known when it is made that they can be traced.

    Tried with the class's defaults; a class that has a field without one is tried where an experiment is checked.
    """

    @classmethod
    def check_lanes(cls) -> None:
        super().check_lanes()
        if is_built_in(cls) or any(field.is_required() for field in cls.model_fields.values()):
            return
        try:
            config = cls()
        except Exception:
            return  # Making one raises the same error where it is used.
        check_traced(lanes(config), lambda values: bind(config, values).as_in_a_step(), where=cls.__name__)

    def as_in_a_step(self) -> None:
        """What a step does with it, on a small example."""


def check_traced(values: Values, use: Callable[[Values], Any], *, where: str = "", traced: list[str] | None = None):
    """Raise ConfigError, with the lane and the line of code, where `use(values)` needs the value of a traced lane.

    values: plain, by path. traced: those to try, which are all by default. No array is computed. An error that plain
    values cause too is not about lanes: it is ignored here, and training raises it again.
    """
    paths = list(values) if traced is None else traced
    error = _failure(use, values, paths) if paths else None
    if error is None or _failure(use, values, []) is not None:
        return
    alone = {path: found for path in paths if (found := _failure(use, values, [path])) is not None}
    path, error = next(iter(alone.items()), (", ".join(paths), error))
    reason = str(error).strip().split("\n")[0]
    raise ConfigError(
        f"{where}{'.' if where else ''}{path} is a lane, which is traced in a step and has no value that Python can "
        f"look at; {_line(error)} needs one ({type(error).__name__}: {reason}). Use jnp.where and the like there, or "
        "declare it with pydantic's Field(...) instead of lane(...): every value of it then has a program of its own"
    ) from error


def _failure(use: Callable[[Values], Any], values: Values, traced: list[str]) -> Exception | None:
    import jax

    def run(scalars: Values) -> None:
        use({**values, **scalars})

    try:
        jax.eval_shape(run, {path: jax.ShapeDtypeStruct((), _dtype(path)) for path in traced})
    except Exception as error:
        return error
    return None


def _line(error: BaseException) -> str:
    """The last line of code that an error came through which is the user's own; else of this package."""
    frames = [(frame, line) for cause in _causes(error) for frame, line in traceback.walk_tb(cause.__traceback__)]
    own = [place for place in frames if _package(place[0]) not in OF_LIBRARIES]
    frame, line = [*(place for place in frames if _package(place[0]) == "cnnjax"), *own][-1]
    file = frame.f_code.co_filename
    source = linecache.getline(file, line, frame.f_globals).strip()
    return f"{file} line {line}" + (f", `{source}`," if source else "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
