"""A study: a base experiment, the axes along which it varies, and the seeds each arm is repeated with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from cnnjax.config import Config, Named, explain, later, read, split_values
from cnnjax.errors import ConfigError, unknown
from cnnjax.experiment import Experiment
from cnnjax.study.adaptive import Adaptive
from cnnjax.study.axis_checks import changed, check_axes, check_exclusion
from cnnjax.study.axis_texts import applied
from cnnjax.study.budget import Budget
from cnnjax.study.designs import Arm, Axes, Design, Distribution, Grid, OneAtATime, changes_of, paths_of, values_of
from cnnjax.study.designs.axes import BASE, seeds_advice
from cnnjax.study.exclusions import Exclusions, LeftOut, remaining

Measure = Literal["macs", "params"]
MOST_TRIALS = 100_000
"""Of a plan."""

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

    experiment: the base, from which every arm differs by what its axes set. budget: what an arm may cost at most
    (`Budget`); arms above it are pruned, with the arithmetic.
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
    def _is_no_larger_than_a_plan(self) -> Study:
        seeds = self.seeds if isinstance(self.seeds, int) else len(self.seeds)
        if seeds > MOST_TRIALS:
            raise ValueError(f"seeds: {seeds:,}: a plan has at most {MOST_TRIALS:,} trials")
        return self

    @model_validator(mode="after")
    def _axes_are_of_the_experiment(self) -> Study:
        axes = self.all_axes
        check_axes(self.experiment, axes)
        for exclusion in self.exclude:
            check_exclusion(self.experiment, axes, exclusion)
        for path in self.matched_axes:
            if path not in axes:
                raise ValueError(f"match: {unknown('axis', path, axes)}")
        if isinstance(self.match, Mapping) and len(set(self.match.values())) > 1:
            raise ValueError("match: all axes are matched in macs, or all in params")
        if self.adaptive is not None and "fold" in self.paths:
            raise ValueError(
                "adaptive: it would choose among folds by their validation results, and a fold is nothing to choose: "
                "leave fold out of the axes (the base experiment may have one), or leave adaptive out"
            )
        if not isinstance(self.seeds, int) and len(set(self.seeds)) < len(self.seeds):
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
        return self._remaining(LeftOut([0] * len(self.exclude)))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms."""
        return self.sifted[0]

    @cached_property
    def sifted(self) -> tuple[tuple[Arm, ...], LeftOut]:
        """All arms, and how many are left out."""
        left_out = LeftOut([0] * len(self.exclude))
        return tuple(self._remaining(left_out)), left_out

    def _remaining(self, left_out: LeftOut) -> Iterator[Arm]:
        return remaining(self.chosen_design.arms(self.base_arm), self.exclude, self.varied, left_out)

    @cached_property
    def base_arm(self) -> Arm:
        """The base's values, written as the axes do where they have them: `"batch"` for `BatchNorm()`.

        Of a group it is the choice that leaves the base as it is, else "base".
        """
        return Named({name: self._base_value(name, axis) for name, axis in self.all_axes.items()})

    def varied(self, arm: Mapping[str, Any]) -> Experiment:
        """The experiment with the values of an arm. Raises ConfigError."""
        return changed(self.experiment, changes_of(self.all_axes, arm))

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
    """The study with values written as text (`axis_texts.applied`): one value changes the base, several make an axis.

    Raises ConfigError.
    """
    refuse_overruled(study, overrides)
    experiment, axes = applied(study.experiment, study.axes, overrides)
    return with_fields(study, experiment=experiment, axes=axes)


def refuse_overruled(study: Study, overrides: Mapping[str, str], *, redesigned: bool = False) -> None:
    """Raise ConfigError where an override is of the seed, or of what a group or the study's own design sets.

    redesigned: the axes will stand in another design, so that those with values can be given others.
    """
    if "seed" in overrides:
        given = overrides["seed"]
        raise ConfigError(
            f"seed={given}: seed is no axis of its own, and a study sets it; {seeds_advice(split_values(given))}"
        )
    axes = study.all_axes if study.design is not None else study.axes
    for name, axis in axes.items():
        if (study.design is None or redesigned) and not isinstance(axis, Named):
            continue
        for path in (name, *paths_of(name, axis)):
            if path in overrides:
                raise ConfigError(f"{path}: the study's axis {name} sets it: change it in the file", path=path)


def with_fields(study: Study, **fields: Any) -> Study:
    """The study with some fields replaced, checked. Raises ConfigError."""
    kept = {name: getattr(study, name) for name in type(study).model_fields}
    try:
        return Study.model_validate(kept | fields)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
