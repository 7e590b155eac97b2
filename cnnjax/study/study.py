"""A study: a base experiment, the axes along which it varies, and the seeds each arm is repeated with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from cnnjax.config import (
    Config,
    Named,
    digest,
    explain,
    later,
    named_with,
    outermost_first,
    parse,
    read,
    replace,
    replace_text,
    replace_texts,
    required_fields,
    snake_case,
    split_values,
    tag_key_of,
)
from cnnjax.errors import ConfigError, unknown
from cnnjax.experiment import Experiment
from cnnjax.study.adaptive import Adaptive

Measure = Literal["macs", "params"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LONGEST = 120  # characters of a value's text


def _hashable(axes: Mapping[str, tuple[Any, ...]]) -> Named[tuple[Any, ...]]:
    """Axes whose values can tell arms apart: mappings inside them are Named, sequences are tuples."""
    for path, values in axes.items():
        for value in values:
            try:
                hash(_frozen(value))
            except TypeError:
                raise ValueError(f"{path}: a {type(value).__name__} is no value of a field") from None
    return Named({path: tuple(map(_frozen, values)) for path, values in axes.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Named({name: _frozen(entry) for name, entry in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, Named):
        return {name: _thawed(entry) for name, entry in value.items()}
    return tuple(map(_thawed, value)) if isinstance(value, tuple) else value


class Study(Config):
    """`Study(experiment, axes={"model.pool": ["max", "average"]}, seeds=5)`.

    axes: values by dotted path into the experiment: scalars, tuples, configs, or the tags and mappings that stand for
    configs (`"mixing": [None, "mixup", {"name": "cutmix", "alpha": 0.5}]`). combine: "grid", every combination; or
    "one_at_a_time", the base and each axis's other values alone. seeds: how many (0, 1, 2, ...), or which.
    match: "macs" or "params" rescales the widths of every arm to the cost of the base; by path (`{"model.kernel_size":
    "macs"}`) only those axes are evened out, against the arm that has the base's values there. adaptive: how validation
    results decide what is trained next (`SuccessiveHalving(first=2)`); None trains every arm with every seed.
    """

    experiment: Experiment
    axes: Annotated[Mapping[str, tuple[Any, ...]], AfterValidator(_hashable)] = Named()
    combine: Literal["grid", "one_at_a_time"] = "grid"
    seeds: Annotated[int, Field(ge=1)] | Annotated[tuple[Seed, ...], Field(min_length=1)] = 3
    match: Measure | Annotated[Mapping[str, Measure], AfterValidator(Named)] | None = None
    adaptive: Adaptive | None = later(None)

    def __init__(self, experiment: Experiment | None = None, /, *others: Any, **fields: Any):
        if others:
            raise ConfigError("Study takes all but its experiment by name: Study(experiment, axes={...}, seeds=3)")
        super().__init__(**({} if experiment is None else {"experiment": experiment}), **fields)

    @model_validator(mode="after")
    def _axes_are_paths(self) -> Study:
        for path, values in self.axes.items():
            if path == "seed":
                raise ValueError("axes: seed is no axis of its own; give seeds=(1, 2); on the command line --seeds 2")
            read(self.experiment, path)
            if not values:
                raise ValueError(f"axes: {path} has no values")
            labels = [labelled(value) for value in values]
            repeated = dict.fromkeys(text(value) for value in values if labels.count(labelled(value)) > 1)
            if repeated:
                raise ValueError(f"axes: {path} repeats {', '.join(repeated)}")
        for path in self.matched_axes:
            if path not in self.axes:
                raise ValueError(f"match: {unknown('axis', path, self.axes)}")
        if isinstance(self.match, Mapping) and len(set(self.match.values())) > 1:
            raise ValueError("match: all axes are matched in macs, or all in params")
        if len(set(self.seed_values)) < len(self.seed_values):
            raise ValueError(f"seeds: {self.seeds} repeats a seed")
        return self

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def matched_axes(self) -> tuple[str, ...]:
        """The axes along which all arms shall cost the same."""
        if self.match is None:
            return ()
        return tuple(self.match if isinstance(self.match, Mapping) else self.axes)

    @property
    def measure(self) -> Measure | None:
        """What `match` makes equal."""
        return next(iter(self.match.values()), None) if isinstance(self.match, Mapping) else self.match

    @property
    def arms(self) -> tuple[Named[Any], ...]:
        """What each arm sets: a value for every axis, in the order of the axes."""
        if self.combine == "grid":
            return tuple(
                Named(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())
            )
        base = self.base_arm
        others = [
            {**base, path: value} for path, values in self.axes.items() for value in values if value != base[path]
        ]
        return (base, *map(Named, others))

    @property
    def base_arm(self) -> Named[Any]:
        """The base's values, written as the axes do where they have them: `"batch"` for `BatchNorm()`."""
        return Named({path: self._base_value(path) for path in self.axes})

    def varied(self, arm: Mapping[str, Any]) -> Experiment:
        """The experiment with the values of an arm. Raises ConfigError."""
        return replace(self.experiment, {path: _thawed(value) for path, value in arm.items()})

    def _base_value(self, path: str) -> Any:
        base = read(self.experiment, path)
        return next((value for value in self.axes[path] if self._becomes(path, value) == base), base)

    def _becomes(self, path: str, value: Any) -> Any:
        try:
            return read(self.varied({path: value}), path)
        except ConfigError:
            return value


def with_overrides(study: Study, overrides: Mapping[str, str]) -> Study:
    """The study with values written as text: one value changes the base, several (`3,5,7`) make an axis.

    Values are typed by the field they go to. One value inside what an axis replaces (`optim=sgd,adamw
    optim.learning_rate=0.1`) is an axis of that value, so that every arm has it; one that a member must be given
    (`data=digits,folder data.root=pets`) goes with it. Raises ConfigError.
    """
    if "seed" in overrides:
        raise ConfigError(
            f"seed={overrides['seed']}: seed is no axis of its own, and a study sets it; give seeds=(1, 2) in the "
            "file, or on the command line --seeds 2"
        )
    values = {path: split_values(text) for path, text in overrides.items()}
    fixed = {path: overrides[path] for path in values if len(values[path]) == 1}
    varied = {path: values[path] for path in outermost_first(values) if path not in fixed}
    for path, choices in varied.items():
        varied[path] = [_with_required(study.experiment, path, choice, fixed) for choice in choices]
    axes = {path: value for path, value in study.axes.items() if path not in fixed}
    experiment = replace_texts(study.experiment, fixed | _first_of_required(study.experiment, fixed, varied))
    axes |= {path: tuple(_value(experiment, path, value) for value in varied[path]) for path in varied}
    inside = [path for path in fixed if any(path.startswith(f"{other}.") for other in axes)]
    axes |= {path: (_value(experiment, path, fixed[path]),) for path in inside}
    return with_fields(study, experiment=experiment, axes=axes)


def _with_required(experiment: Experiment, path: str, written: str, fixed: dict[str, str]) -> str:
    """The value with the fields that it must be given, taken out of what is fixed where the base has none of them."""
    has_fields = any(other.startswith(f"{path}.") for other in fixed)
    named = parse(written)
    needed = required_fields(experiment, path, named) if has_fields else ()
    given = [(field, parse(fixed[field.path])) for field in needed if field.path in fixed]
    if not given:
        return written
    node = read(experiment, path)
    for field, _ in given:
        if not hasattr(node, field.name):
            del fixed[field.path]
    return json.dumps(named_with(named, given))


def _first_of_required(
    experiment: Experiment, fixed: Mapping[str, str], varied: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The first value of each axis over a field that what is fixed must be given: `data=folder data.root=a,b`."""
    outer = [path for path in fixed if any(other.startswith(f"{path}.") for other in varied)]
    needed = {field.path for path in outer for field in required_fields(experiment, path, parse(fixed[path]))}
    return {path: values[0] for path, values in varied.items() if path in needed}


def _value(experiment: Experiment, path: str, written: str) -> Any:
    """The value written for the field at `path`; configs stay as they were written, by tag or mapping."""
    changed = replace_text(experiment, path, written)
    try:
        typed = read(changed, path)
    except ConfigError:
        return None  # which takes a named entry away
    if not any(isinstance(part, Config) for part in _parts(typed)):
        return typed
    try:
        replace(experiment, {path: parse(written)})
    except ConfigError:
        return written
    return parse(written)


def _parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, tuple | Named):
        for entry in value.values() if isinstance(value, Named) else value:
            yield from _parts(entry)


def with_fields(study: Study, **fields: Any) -> Study:
    """The study with some fields replaced, checked. Raises ConfigError."""
    kept = {name: getattr(study, name) for name in type(study).model_fields}
    try:
        return Study.model_validate(kept | fields)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


# --- the values of axes as short text


def labelled(value: Any) -> Any:
    """A value as JSON for files and reports, which know no configs: each config is its `text`."""
    if isinstance(value, Config | Named):
        return text(value)
    return [labelled(entry) for entry in value] if isinstance(value, tuple) else value


def text(value: Any) -> str:
    """A value as short text: `cutmix(alpha=0.5)`, `(random_crop, flip)`, `none`.

    A config is its tag, or the nearest preset's name, with the fields that differ; a mapping shows what it gives. What
    stays long is cut, and ends in a digest of its content.
    """
    written = _text(value)
    if len(written) <= LONGEST or isinstance(value, str):
        return written
    return f"{written[: LONGEST - 9]}… #{digest(value, 6)}"


def _text(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        # Only a name is as clear alone: (16,) is not 16.
        alone = len(value) == 1 and isinstance(value[0], str | Config | Named)
        return _text(value[0]) if alone else f"({', '.join(map(_text, value))})"
    if isinstance(value, Named):
        return _mapping_text(value)
    return _config_text(value) if isinstance(value, Config) else str(value)


def _mapping_text(value: Named[Any]) -> str:
    key = tag_key_of(value)
    return _called(value.get(key, ""), {name: entry for name, entry in value.items() if name != key})


@cache
def _config_text(config: Config) -> str:
    fields = {name: getattr(config, name) for name in type(config).model_fields}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in type(config).model_fields.items()}
    changes = {config.tag or snake_case(type(config).__name__): _changes(defaults, fields)}
    for name, make in config.presets.items():
        preset = _made(make)
        if type(preset) is type(config):
            changes[name] = _changes(dict(preset), fields)
    published = [name for name in config.presets if changes.get(name) == {}]
    nearest = min(published or changes, key=lambda name: len(_called("", changes[name])))
    return _called(nearest, changes[nearest])


@cache
def _made(make: Callable[[], Config]) -> Config:
    return make()


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as before, by path: `layers.conv1.kernel_size`."""
    changes: dict[str, Any] = {}
    for name, value in after.items():
        old = before.get(name)
        old_fields, fields = _fields(old), _fields(value)
        if value == old and name in before:
            continue
        if type(value) is type(old) and fields and list(fields) == list(old_fields):
            changes |= {f"{name}.{inner}": entry for inner, entry in _changes(old_fields, fields).items()}
        else:
            changes[name] = value
    return changes


def _fields(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Config | Named) else {}


def _called(name: str, fields: Mapping[str, Any]) -> str:
    written = ", ".join(f"{field}={_text(value)}" for field, value in fields.items())
    return f"{name}({written})" if written or not name else name
