"""A study as the command line asks for it: overrides, groups, exclusions, and the design that its axes stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.config import Named, read, split_values
from cnnjax.errors import ConfigError, unknown
from cnnjax.study.axis_texts import applied, choices_of, fields_of
from cnnjax.study.designs import Design, Distribution, Grid, Listed, OneAtATime, Product, Random, Zip, combinations
from cnnjax.study.study import Study, refuse_overruled, with_fields

NAMES = ("grid", "one_at_a_time", "zip", "random", "sobol", "latin_hypercube", "fractional_factorial")
"""Designs whose axes stand on the command line; the others are put together in Python."""


@dataclass(frozen=True)
class Asked:
    """What the options say of a study's design, as it is written.

    design: its name. points, seed, resolution, generators (`D=A,B`): its settings. zips: axes that change together
    (`A,B`), beside all others. arms: written out, each with what it changes (`epochs=5 model.pool=blur`). groups:
    `NAME=CHOICE; CHOICE: PATH=VALUE`. exclude: arms to leave out; `none` lets go of those that the file says.
    """

    design: str | None = None
    points: int | None = None
    seed: int | None = None
    resolution: int | None = None
    generators: Sequence[str] = ()
    zips: Sequence[str] = ()
    arms: Sequence[str] = ()
    groups: Sequence[str] = ()
    exclude: Sequence[str] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that are given, by the names of designs' fields."""
        given: dict[str, Any] = {"points": self.points, "seed": self.seed, "resolution": self.resolution}
        given["generators"] = _generators(self.generators) or None
        return {name: value for name, value in given.items() if value is not None}


OPTIONS = {"points": "--points", "seed": "--design-seed", "resolution": "--resolution", "generators": "--generator"}
"""The options that give a design's settings, by the fields that they go to."""


def designed(study: Study, overrides: Mapping[str, str], asked: Asked = Asked(), *, proposed: int = 0) -> Study:
    """The study with overrides (`with_overrides`) and what the options say of its design.

    proposed: how many arms a sampler that proposes them will draw from distributions, where the study has some; 0
    without such a sampler. Raises ConfigError.
    """
    ways = {"--design": asked.design, "--zip": asked.zips, "--arm": asked.arms}
    given = [option for option, written in ways.items() if written]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: a study has one design; give one of them")
    refuse_overruled(study, overrides, redesigned=bool(given))
    axes = study.all_axes if given or study.design is None else Named()
    experiment, varied = applied(study.experiment, axes, overrides)
    for written in asked.groups:
        name, choices = choices_of(experiment, written)
        if sum(other.partition("=")[0].strip() == name for other in asked.groups) > 1:
            raise ConfigError(f"--group: {name} is given twice")
        varied[name] = choices
    changes: dict[str, Any] = {"experiment": experiment, "exclude": _exclusions(study, asked.exclude)}
    if asked.arms:
        changes |= _listed(experiment, varied, asked)
    elif asked.zips:
        changes |= _of(_zipped(study, varied, asked))
    elif asked.design is not None:
        changes |= _of(_named(varied, asked.design, asked.settings))
    elif study.design is not None:
        changes |= _own(study, varied, asked.settings)
    else:
        changes |= _plain(varied, asked.settings, proposed)
    return with_fields(study, **changes)


def no_axes_now(before: Study, after: Study, overrides: Mapping[str, str]) -> list[str]:
    """A sentence for each axis of `before` that an override of one value has taken away: `[3,5]` is one, a tuple."""
    gone = [path for path in overrides if path in before.all_axes and path not in after.all_axes]
    return [f"{path} is no axis any more: every arm has {read(after.experiment, path)!r}" for path in gone]


def _exclusions(study: Study, written: Sequence[str]) -> tuple[Any, ...]:
    """The study's exclusions, and those that are written; `none` lets go of the former."""
    added = [text for text in written if text != "none"]
    return (*(() if len(added) < len(written) else study.exclude), *added)


def _of(design: Design) -> dict[str, Any]:
    """The fields of a study with that design: a grid and a star are `axes` and `combine`."""
    if isinstance(design, Grid | OneAtATime):
        return {"axes": design.axes, "combine": design.tag, "design": None}
    return {"axes": Named(), "combine": "grid", "design": design}


def _named(axes: Mapping[str, Any], name: str, settings: Mapping[str, Any]) -> Design:
    """The design of that name. Raises ConfigError where there is none, or it has not these settings and axes."""
    if name not in NAMES:
        made = "; it is put together in Python (Study(experiment, design=...))" if name in Design.members else ""
        raise ConfigError(f"--design: {unknown('design', name, NAMES)}{made}")
    member: Any = Design.members[name]
    _refuse_strange(settings, member, f"--design {name}")
    needed = [f"{OPTIONS[field]} N" for field in ("points",) if _needs(member, field) and field not in settings]
    if needed:
        raise ConfigError(f"--design {name} needs {' and '.join(needed)}")
    if not axes and name not in ("grid", "one_at_a_time"):
        raise ConfigError(f"--design {name}: the study has no axes; give some, such as model.features=8,16")
    return member(axes=axes, **settings)


def _needs(member: Any, field: str) -> bool:
    return field in member.model_fields and member.model_fields[field].is_required()


def _refuse_strange(settings: Mapping[str, Any], member: Any, what: str) -> None:
    for field in settings:
        if field not in member.model_fields:
            having = [name for name in NAMES if field in Design.members[name].model_fields]
            raise ConfigError(f"{OPTIONS[field]} is no setting of {what}; it is one of --design {', '.join(having)}")


def _own(study: Study, varied: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The study's own design, with the settings that are given."""
    design = study.design
    assert design is not None
    if varied:
        said = ", ".join(varied)
        raise ConfigError(
            f"{said}: the study's design ({design.tag}) has axes of its own: give a design for all of them, such as "
            "--design grid, or change the file"
        )
    _refuse_strange(settings, type(design), f"the study's design, {design.tag}")
    fields = {name: getattr(design, name) for name in type(design).model_fields}
    return {"design": type(design)(**(fields | dict(settings)))} if settings else {}


def _plain(axes: Mapping[str, Any], settings: Mapping[str, Any], proposed: int) -> dict[str, Any]:
    """The axes, combined as the study says; distributions of an adaptive design that draws from them itself."""
    if settings:
        said = " and ".join(OPTIONS[field] for field in settings)
        raise ConfigError(f"{said}: of which design? Give --design, such as --design random")
    if proposed and any(isinstance(axis, Distribution) for axis in axes.values()):
        most = combinations(axes)
        return _of(Random(axes=axes, points=proposed if most is None else min(most, proposed)))
    return {"axes": axes}


def _zipped(study: Study, axes: Mapping[str, Any], asked: Asked) -> Design:
    """Axes that change together, and all combinations of that with the others."""
    if asked.settings:
        raise ConfigError(f"--zip has no settings: leave out {OPTIONS[next(iter(asked.settings))]}")
    together = [[name.strip() for name in written.split(",")] for written in asked.zips]
    named = [name for names in together for name in names]
    for name in named:
        if name not in axes:
            raise ConfigError(f"--zip: {unknown('axis', name, axes) if axes else 'the study has no axes'}")
        if named.count(name) > 1:
            raise ConfigError(f"--zip names {name} twice")
    for names in together:
        if len(names) < 2:
            raise ConfigError(f"--zip {names[0]}: give two axes or more, such as --zip model.features,epochs")
    parts: list[Design] = [Zip(axes={name: axes[name] for name in names}) for names in together]
    rest = {name: axis for name, axis in axes.items() if name not in named}
    star = study.design is None and study.combine == "one_at_a_time"
    parts += [OneAtATime(axes=rest) if star else Grid(axes=rest)] if rest else []
    return parts[0] if len(parts) == 1 else Product(designs=tuple(parts))


def _listed(experiment: Any, axes: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """Arms that are written out."""
    if axes or asked.settings:
        other = ", ".join([*axes, *(OPTIONS[field] for field in asked.settings)])
        raise ConfigError(f"--arm writes out all arms: leave out {other}")
    return _of(Listed(chosen=tuple(fields_of(experiment, written) for written in asked.arms)))


def _generators(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for written in given:
        name, equals, sources = written.partition("=")
        if not equals or not sources:
            raise ConfigError(f"--generator {written}: must be as in --generator model.norm=model.features,model.pool")
        if name.strip() in found:
            raise ConfigError(f"--generator: {name.strip()} is given twice")
        found[name.strip()] = split_values(sources)
    return found
