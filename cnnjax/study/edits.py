"""What differs between the study that a folder holds and the one that is swept into it, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cnnjax.config import diff, union_keys, unknown_tags
from cnnjax.data.tfds import TFDS
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment
from cnnjax.records.study_json import StudyRecord
from cnnjax.study.values import frozen, text

SHOWN = 8
"""Values, fields or arms of one kind that are named at most."""


def differences(held: StudyRecord, now: StudyRecord, experiment: Experiment) -> list[str]:
    """What was edited, an entry each. held: of the folder. now: of the study that is swept, whose base `experiment` is.

    Empty where both are the same study; another name, question or order of values is no other study.
    """
    return [
        *_axes(held, now),
        *_settings(held, now),
        *_exclusions(held, now),
        *_named("seed", map(str, held.seeds), map(str, now.seeds)),
        *_one("match", _match(held), _match(now)),
        *_base(base_changes(held, experiment)),
        *_one("adaptive", held.adaptive, now.adaptive),
    ]


def base_of(held: StudyRecord, experiment: Experiment) -> Experiment | None:
    """The base experiment of a study.json, as one of the class of `experiment`; None where it cannot be made today."""
    try:
        return type(experiment).from_json(json.dumps(held.base))
    except ConfigError:
        return None


def base_changes(held: StudyRecord, experiment: Experiment) -> dict[str, tuple[Any, Any]]:
    """By path, what the base experiment there has and what this one has, where they differ."""
    before = base_of(held, experiment)
    if before is not None:
        return diff(before, experiment)
    strange = ", ".join(tag for tag in dict.fromkeys(unknown_tags(held.base)) if not _is_set(tag))
    of = f"one with {strange}, a class of the file of study {held.name or 'there'}"
    return {"": (of if strange else "one that cannot be made any more", "another")}


def _is_set(name: str) -> bool:
    return TFDS.of_set(name) is not None


# --- each kind


def _base(changes: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    # Where another member of a union stands, its name says it: its fields are others too.
    names = [path for path in changes if path.rpartition(".")[2] in union_keys()]
    inside = [f"{path.rpartition('.')[0]}." for path in names]
    said = [path for path in changes if path in names or not any(path.startswith(outer) for outer in inside)]
    for path in said[:SHOWN]:
        there, here = changes[path]
        yield f"base experiment: {f'{path} = ' if path else ''}{text(frozen(there))} there, {text(frozen(here))} here"
    if len(said) > SHOWN:
        yield f"base experiment: {len(said) - SHOWN} more fields"


def _axes(held: StudyRecord, now: StudyRecord) -> Iterator[str]:
    there, here = axes_in(held), axes_in(now)
    for name in there:
        if name not in here:
            yield f"axis {name} is gone ({_said(there[name])})"
    for name, axis in here.items():
        if name not in there:
            yield f"axis {name} is new ({_said(axis)})"
        elif _kind(there[name]) != _kind(axis):
            yield f"axis {name}: {_said(there[name])} there, {_said(axis)} here"
        elif isinstance(axis, list):
            yield from (f"axis {name}: {each}" for each in _named("value", *_labels(held, now, name)))
        else:
            yield from _choices(name, there[name], axis)


def _choices(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """What differs in a group's choices, or in the numbers of a distribution."""
    if not is_group(here):
        yield from _one(f"axis {name}", _said(there), _said(here))
        return
    yield from (f"group {name}: {each}" for each in _named("choice", there, here))
    for choice in here:
        if choice in there and there[choice] != here[choice]:
            yield f"group {name}: choice {choice} sets {_pairs(there[choice])} there, {_pairs(here[choice])} here"


def _labels(held: StudyRecord, now: StudyRecord, name: str) -> tuple[list[str], list[str]]:
    return [text(frozen(value)) for value in held.axes[name]], [text(frozen(value)) for value in now.axes[name]]


def _settings(held: StudyRecord, now: StudyRecord) -> Iterator[str]:
    yield from _one("design", held.combine, now.combine)
    there, here = held.design, now.design
    if there is None or here is None or held.combine != now.combine:
        return
    for field in {**there, **here}:
        if field not in ("design", "axes", "designs", "chosen"):
            yield from _one(f"design {here['design']}: {field}", there.get(field), here.get(field))
    if there.get("designs") != here.get("designs"):
        yield f"design {here['design']}: the designs that it is made of"
    if "chosen" in here:
        yield from _named("arm", map(_pairs, there["chosen"]), map(_pairs, here["chosen"]))
    if here["design"] == "zip" and there["axes"] != here["axes"] and not list(_axes(held, now)):
        yield "design zip: other values stand side by side"


def _exclusions(held: StudyRecord, now: StudyRecord) -> Iterator[str]:
    there, here = ({entry.text: entry.code for entry in study.exclude} for study in (held, now))
    yield from (f"exclude: {each}" for each in _named("exclusion", map(repr, there), map(repr, here)))
    for written, code in here.items():
        if written in there and there[written] != code:
            yield f"exclude: the code of {written} changed ({there[written]} there, {code} here)"


def _match(study: StudyRecord) -> str | None:
    return f"{study.match} along {', '.join(study.matched)}" if study.matched else study.match


# --- words


def _named(what: str, there: Iterable[str], here: Iterable[str]) -> Iterator[str]:
    """`seeds 3, 4 are new`, `value 9 is gone`."""
    before, after = dict.fromkeys(there), dict.fromkeys(here)
    for names, end in ((before.keys() - after.keys(), "gone"), (after.keys() - before.keys(), "new")):
        said = [name for name in {**before, **after} if name in names]
        if said:
            more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
            plural = len(said) > 1
            yield f"{what}{'s' * plural} {', '.join(said[:SHOWN])}{more} {'are' if plural else 'is'} {end}"


def _one(what: str, there: Any, here: Any) -> Iterator[str]:
    if _plain(there) != _plain(here):
        yield f"{what}: {text(frozen(there))} there, {text(frozen(here))} here"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def axes_in(study: StudyRecord) -> dict[str, Any]:
    """The axes of the design: a list of values, a distribution, or a group's choices; of older files labels alone."""
    found: dict[str, Any] = {name: list(values) for name, values in study.axes.items()}
    return found | dict(_held(study.design or {}))


def _held(design: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The groups and distributions in a design; values of axes stand in study.json by their labels."""
    for name, axis in (design.get("axes") or {}).items():
        if isinstance(axis, Mapping):
            yield name, axis
    for inner in design.get("designs") or ():
        yield from _held(inner)


def is_group(axis: Any) -> bool:
    """Whether an axis of `axes_in` is a group's choices."""
    return _kind(axis) == "group"


def _kind(axis: Any) -> str:
    if isinstance(axis, list):
        return "values"
    return "distribution" if isinstance(axis.get("distribution"), str) else "group"


def _said(axis: Any) -> str:
    if isinstance(axis, list):
        return ", ".join(text(frozen(value)) for value in axis[:SHOWN])
    if _kind(axis) == "group":
        return f"choices {', '.join(axis)}"
    fields = ", ".join(f"{field} {value}" for field, value in axis.items() if field != "distribution")
    return f"{axis['distribution']}({fields})"


def _pairs(changes: Mapping[str, Any]) -> str:
    return " ".join(f"{path}={text(frozen(value))}" for path, value in changes.items()) or "nothing"
