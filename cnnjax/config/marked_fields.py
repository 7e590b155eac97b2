"""How fields are declared: lanes, which may change without compiling anew, those that a class gets later, and those
that had another name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cnnjax.errors import ConfigError, unknown


def lane(default: Any = PydanticUndefined, *, later: bool = False, **constraints: Any) -> Any:
    """A field whose value may change without recompiling the program: `sigma: float = lane(0.1, ge=0)`.

    constraints: as of pydantic's Field, whose names alone are taken. The field is a float, or float | None (None and a
    number are two programs); one named `seed` is an int below 2**32. In a step it holds a traced scalar:
    jnp.where in the place of `if`. Where that cannot be, making the class raises ConfigError. See docs/lanes.md.
    later: whether the class had finished trials before it had this field, as of `later`.
    """
    _check_constraints("lane", constraints)
    if later and default is PydanticUndefined:
        raise ConfigError("lane(later=True) needs a default: the value at which all is as before there was the field")
    return Field(default, json_schema_extra={"lane": True, "later": later}, **constraints)


def later(neutral: Any, **constraints: Any) -> Any:
    """A field that a class gets after trials of it were trained: `dropout_2: float = later(0.0, ge=0)`.

    neutral: the default, at which all is as before there was the field. While a field holds it, it is left out of what
    names a trial (`digest`), at any depth of a config, so that earlier trials keep their names and are found
    again. A file written before lacks the field and is read as having it. constraints: as of pydantic's Field.

    The default is the neutral value and stays it for good. With another default, an experiment that does not set the
    field would be another than the one trained under the same text before, and a file without the field could mean
    either. A better setting for new experiments is a preset, or a new class.
    """
    _check_constraints("later", constraints)
    return Field(neutral, json_schema_extra={"later": True}, **constraints)


def renamed(default: Any = PydanticUndefined, *, formerly: str, **constraints: Any) -> Any:
    """A field that has another name than in earlier versions: `size: int = renamed(3, formerly="width")`.

    formerly: its earlier name. By that it stays in what names a trial (`digest`), so that the trials of before keep
    their names, and it is read where a file or a call still has it. constraints: as of pydantic's Field.
    """
    _check_constraints("renamed", constraints)
    return Field(default, json_schema_extra={"formerly": formerly}, **constraints)


_CONSTRAINTS = ("ge", "gt", "le", "lt", "multiple_of", "allow_inf_nan", "min_length", "max_length", "pattern")
_OF_FIELD = inspect.signature(Field).parameters.keys() - {"default", "extra"}


def _check_constraints(call: str, given: Iterable[str]) -> None:
    """Raise ConfigError for a name that pydantic's Field has no meaning for: it would keep it and check nothing."""
    for name in given:
        if name not in _OF_FIELD:
            raise ConfigError(unknown(f"constraint of {call}(...)", name, _CONSTRAINTS))


def former_names(model: type[BaseModel]) -> dict[str, str]:
    """The earlier name of each of a class's fields that was `renamed`, by its name."""
    extras = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    return {
        name: f"{extra['formerly']}"
        for name, extra in extras.items()
        if isinstance(extra, dict) and "formerly" in extra
    }


def under_new_names(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a class's fields, those that stand under an earlier name under that of now.

    Raises ConfigError for a field that stands under both.
    """
    found = dict(values)
    for name, former in former_names(model).items():
        if former not in found:
            continue
        if name in found:
            raise ConfigError(f"{model.__name__}.{former} is called {name} now: give it once, as {name}")
        found[name] = found.pop(former)
    return found


def is_lane(field: FieldInfo | None) -> bool:
    """Whether a field was declared with `lane(...)`."""
    return _is_marked(field, "lane")


def is_later(field: FieldInfo | None) -> bool:
    """Whether a field was declared with `later(...)` or `lane(..., later=True)`."""
    return _is_marked(field, "later")


def _is_marked(field: FieldInfo | None, mark: str) -> bool:
    extra = None if field is None else field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(mark))


def lane_fields(model: type[BaseModel]) -> list[str]:
    """The names of a class's fields that are lanes."""
    return [name for name, field in model.model_fields.items() if is_lane(field)]


def check_fields(model: type[BaseModel], *, no_lanes: str = "") -> None:
    """Raise ConfigError for a lane of a type that cannot be traced, or in a class that has none, for `no_lanes`."""
    for name in lane_fields(model):
        kinds = _kinds(model.model_fields[name].annotation)
        if no_lanes:
            raise refused(model, name, no_lanes)
        if kinds != {int} if name == "seed" else kinds - {NoneType} != {float}:
            shown = " | ".join(sorted(getattr(kind, "__name__", str(kind)) for kind in kinds))
            raise refused(
                model,
                name,
                f"it is {shown}, and a size, a choice or a flag decides what is compiled; a lane is a float, or "
                "float | None, and one named `seed` an int",
            )
        # One that is None until the length of a training is known holds nothing yet: binding looks again.
        if held := [other for other, made in model.__private_attributes__.items() if made.default is not None]:
            reason = f"private attributes ({', '.join(held)}) would keep what was made of another value"
            raise refused(model, name, reason)


def refused(model: type[BaseModel], name: str, reason: str) -> ConfigError:
    """The error that says why the field `name` cannot be a lane, and what to write instead."""
    return ConfigError(
        f"{model.__name__}.{name} cannot be a lane: {reason}. Declare it with pydantic's Field(...) instead of "
        "lane(...): every value of it then has a program of its own"
    )


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation admits, without what it says of them: `Annotated[float, ...] | None` has two."""
    annotation = getattr(annotation, "__value__", annotation)
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_kinds, get_args(annotation)))
    return {annotation}
