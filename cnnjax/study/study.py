"""A study: a base experiment, the axes along which it varies, and the seeds each arm is repeated with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from cnnjax.config import Config, Named, explain, outermost_first, plain, read, replace_text, split_values
from cnnjax.errors import ConfigError, unknown
from cnnjax.experiment import Experiment

Measure = Literal["macs", "params"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Study(Config):
    """`Study(experiment, axes={"model.pool": ["max", "average"]}, seeds=5)`.

    axes: values by dotted path into the experiment. combine: "grid", every combination; or "one_at_a_time", the base
    and each axis's other values alone. seeds: how many (0, 1, 2, ...), or which.
    match: "macs" or "params" rescales the widths of every arm to the cost of the base; by path (`{"model.kernel_size":
    "macs"}`) only those axes are evened out, against the arm that has the base's values there.
    """

    experiment: Experiment
    axes: Annotated[Mapping[str, tuple[Any, ...]], AfterValidator(Named)] = Named()
    combine: Literal["grid", "one_at_a_time"] = "grid"
    seeds: Annotated[int, Field(ge=1)] | Annotated[tuple[Seed, ...], Field(min_length=1)] = 3
    match: Measure | Annotated[Mapping[str, Measure], AfterValidator(Named)] | None = None

    def __init__(self, experiment: Experiment | None = None, /, **fields: Any):
        super().__init__(**({} if experiment is None else {"experiment": experiment}), **fields)

    @model_validator(mode="after")
    def _axes_are_paths(self) -> Study:
        for path, values in self.axes.items():
            if path == "seed":
                raise ValueError("axes: seed is not an axis of its own; give seeds=...")
            read(self.experiment, path)
            if not values:
                raise ValueError(f"axes: {path} has no values")
            written = [repr(plain(value)) for value in values]
            repeated = sorted({text for text in written if written.count(text) > 1})
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
        base = {path: read(self.experiment, path) for path in self.axes}
        others = [
            {**base, path: value} for path, values in self.axes.items() for value in values if value != base[path]
        ]
        return tuple(Named(arm) for arm in (base, *others))


def with_overrides(study: Study, overrides: Mapping[str, str]) -> Study:
    """The study with values written as text: one value changes the base, several (`3,5,7`) make an axis.

    Values are typed by the field they go to. Raises ConfigError.
    """
    experiment, axes = study.experiment, dict(study.axes)
    for path in outermost_first(overrides):
        text = overrides[path]
        values = split_values(text)
        typed = [read(replace_text(experiment, path, value), path) for value in values]
        if len(values) == 1:
            axes.pop(path, None)
            experiment = replace_text(experiment, path, text)
        else:
            axes[path] = tuple(value if _is_plain(value) else text for value, text in zip(typed, values, strict=True))
    return with_fields(study, experiment=experiment, axes=axes)


def with_fields(study: Study, **fields: Any) -> Study:
    """The study with some fields replaced, checked. Raises ConfigError."""
    kept = {name: getattr(study, name) for name in type(study).model_fields}
    try:
        return Study(**kept | fields)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Config)
