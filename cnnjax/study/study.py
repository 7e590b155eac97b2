"""A study: a base experiment, the axes along which it varies, and the seeds each arm is repeated with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from cnnjax.config import (
    Config,
    Named,
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
    split_values,
)
from cnnjax.errors import ConfigError, unknown
from cnnjax.experiment import Experiment
from cnnjax.study.adaptive import Adaptive
from cnnjax.study.budget import Budget
from cnnjax.study.designs import Arm, Axes, Design, Distribution, Grid, OneAtATime, changes_of, paths_of, values_of
from cnnjax.study.designs.axes import BASE
from cnnjax.study.exclusions import Exclusion, Exclusions, remaining
from cnnjax.study.values import thawed

Measure = Literal["macs", "params"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Study(Config):
    """`Study(experiment, axes={"model.pool": ["max", "average"]}, seeds=5)`.

    axes: values by dotted path into the experiment: scalars, tuples, configs, or the tags and mappings that stand for
    configs (`"mixing": [None, "mixup", {"name": "cutmix", "alpha": 0.5}]`); or, under a name of its own, a group: what
    each of its choices sets (`"recipe": {"plain": {}, "long": {"epochs": 90, "optim.weight_decay": 1e-4}}`). combine:
    "grid", every combination; or "one_at_a_time", the base and each axis's other values alone. design: any other way
    (`Zip(axes={...})`), in the place of both. exclude: arms that are left out: those that have certain values
    (`{"model.kernel_size": 7, "model.strides": 2}`), or break a condition (`"model.kernel_size == 7 requires
    model.strides == 1"`), or for whose experiment a function is true. seeds: how many (0, 1, 2, ...), or which.
    match: "macs" or "params" rescales the widths of every arm to the cost of the base; by path (`{"model.kernel_size":
    "macs"}`) only those axes are evened out, against the arm that has the base's values there. adaptive: how validation
    results decide what is trained next (`SuccessiveHalving(first=2)`); None trains every arm with every seed.
    """

    experiment: Experiment
    axes: Axes = Named()
    combine: Literal["grid", "one_at_a_time"] = "grid"
    seeds: Annotated[int, Field(ge=1)] | Annotated[tuple[Seed, ...], Field(min_length=1)] = 3
    match: Measure | Annotated[Mapping[str, Measure], AfterValidator(Named)] | None = None
    design: Design | None = later(None)
    exclude: Exclusions = later(())
    adaptive: Adaptive | None = later(None)
    budget: Budget | None = later(None)

    def __init__(self, experiment: Experiment | None = None, /, *others: Any, **fields: Any):
        if others:
            raise ConfigError("Study takes all but its experiment by name: Study(experiment, axes={...}, seeds=3)")
        super().__init__(**({} if experiment is None else {"experiment": experiment}), **fields)

    @model_validator(mode="after")
    def _one_design(self) -> Study:
        if self.design is not None and (self.axes or self.combine != "grid"):
            given = "axes" if self.axes else "combine"
            raise ValueError(f"{given}: the design has axes of its own; leave {given} out, or leave out the design")
        return self

    @model_validator(mode="after")
    def _axes_are_of_the_experiment(self) -> Study:
        axes = self.all_axes
        for name, axis in axes.items():
            if isinstance(axis, Named):
                self._check_group(name, axis)
            else:
                read(self.experiment, name)
        for exclusion in self.exclude:
            self._check_paths(exclusion)
        for path in self.matched_axes:
            if path not in axes:
                raise ValueError(f"match: {unknown('axis', path, axes)}")
        if isinstance(self.match, Mapping) and len(set(self.match.values())) > 1:
            raise ValueError("match: all axes are matched in macs, or all in params")
        if len(set(self.seed_values)) < len(self.seed_values):
            raise ValueError(f"seeds: {self.seeds} repeats a seed")
        return self

    def _check_group(self, name: str, choices: Mapping[str, Mapping[str, Any]]) -> None:
        if name in type(self.experiment).model_fields:
            raise ValueError(f"axes: {name} is a field of the experiment: give the group of fields another name")
        others = [path for other, axis in self.all_axes.items() if other != name for path in paths_of(other, axis)]
        for choice, changes in choices.items():
            # What stands inside of another axis's value may not be there in the base.
            inside = [path for path in changes if any(path.startswith(f"{other}.") for other in others)]
            try:
                self._changed({path: value for path, value in changes.items() if path not in inside})
            except ConfigError as error:
                raise ConfigError(f"axes: {name}, {choice}: {error}", path=error.path) from None

    def _check_paths(self, exclusion: Exclusion) -> None:
        """Raise ConfigError where an exclusion reads what no arm has."""
        for path in exclusion.paths:
            inside = any(path.startswith(f"{other}.") for other in self.paths)
            if path not in self.all_axes and not inside:
                try:
                    read(self.experiment, path)
                except ConfigError as error:
                    raise ConfigError(f"exclude: {exclusion.text!r}: {error}", path=path) from None

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def matched_axes(self) -> tuple[str, ...]:
        """The axes along which all arms shall cost the same."""
        if self.match is None:
            return ()
        return tuple(self.match if isinstance(self.match, Mapping) else self.all_axes)

    @property
    def measure(self) -> Measure | None:
        """What `match` makes equal."""
        return next(iter(self.match.values()), None) if isinstance(self.match, Mapping) else self.match

    @cached_property
    def chosen_design(self) -> Design:
        """The design: the one given, or that of `axes` and `combine`."""
        if self.design is not None:
            return self.design
        return Grid(axes=self.axes) if self.combine == "grid" else OneAtATime(axes=self.axes)

    @cached_property
    def all_axes(self) -> Named[Any]:
        """The axes of the design by name: values or a distribution by path, or a group's choices."""
        return self.chosen_design.all_axes()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths into the experiment that its axes set."""
        return tuple(path for name, axis in self.all_axes.items() for path in paths_of(name, axis))

    @cached_property
    def levels(self) -> Named[tuple[Any, ...]]:
        """The values of each axis, by its name: a group's are its choices' names, a distribution's what is drawn."""
        axes = self.all_axes
        drawn = [name for name, axis in axes.items() if isinstance(axis, Distribution)]
        arms = self.arms if drawn else ()
        found = {name: tuple(sorted({arm[name] for arm in arms})) for name in drawn}
        return Named({name: found[name] if name in found else values_of(axis) for name, axis in axes.items()})

    @property
    def count(self) -> int:
        """How many arms there are, known without making them; where some are excluded, no more than that."""
        return self.chosen_design.count(self.base_arm)

    def iter_arms(self) -> Iterator[Arm]:
        """The arms one by one: a value for every axis, in the order of the axes.

        Raises ConfigError, after the last one, where an exclusion left out none of them, or all left out every one.
        """
        arms = self.chosen_design.arms(self.base_arm)
        return remaining(arms, self.exclude, self.varied) if self.exclude else arms

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms."""
        return tuple(self.iter_arms())

    @cached_property
    def base_arm(self) -> Arm:
        """The base's values, written as the axes do where they have them: `"batch"` for `BatchNorm()`.

        Of a group it is the choice that leaves the base as it is, else "base".
        """
        return Named({name: self._base_value(name, axis) for name, axis in self.all_axes.items()})

    def varied(self, arm: Mapping[str, Any]) -> Experiment:
        """The experiment with the values of an arm. Raises ConfigError."""
        return self._changed(changes_of(self.all_axes, arm))

    def _changed(self, changes: Mapping[str, Any]) -> Experiment:
        return replace(self.experiment, {path: thawed(value) for path, value in changes.items()})

    def _base_value(self, name: str, axis: Any) -> Any:
        if isinstance(axis, Named):
            return next((choice for choice in axis if self._becomes(name, choice) == self.experiment), BASE)
        base = read(self.experiment, name)
        values = () if isinstance(axis, Distribution) else axis
        return next((value for value in values if self._becomes(name, value, name) == base), base)

    def _becomes(self, name: str, value: Any, path: str = "") -> Any:
        try:
            return read(self.varied({name: value}), path)
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
    _refuse_what_a_design_sets(study, overrides)
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


def _refuse_what_a_design_sets(study: Study, overrides: Mapping[str, str]) -> None:
    """Raise ConfigError where an override would be overruled: a group or the design of the study sets that path."""
    axes = study.all_axes if study.design is not None else study.axes
    for name, axis in axes.items():
        if study.design is None and not isinstance(axis, Named):
            continue
        for path in (name, *paths_of(name, axis)):
            if path in overrides:
                raise ConfigError(f"{path}: the study's axis {name} sets it: change it in the file", path=path)


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
