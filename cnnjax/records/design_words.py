"""A study's design in words, from its study.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.records.study_json import EarlierEntry, ExclusionEntry, StudyRecord

PLANNED = ("design", "exclude", "left_out", "extends")
"""The keys of study.json that say which arms were planned."""

SHOWN = 6
"""Axes, choices or exclusions that are named at most."""


def design_words(study: StudyRecord) -> list[str]:
    """What was planned, and what was left out of it; empty of a study without axes, or from before it was written."""
    design = study.design
    if design is None or not study.axes:
        return []
    if study.arms is None:
        axes = _joined([_axis(*axis) for axis in _axes(design)])
        return [f"Arms are proposed from {axes}.", *_excluded(study)]
    made = f"Design: {_design(design)}: {_count(study.arms + study.left_out, 'arm')}"
    return [f"{made}{_fallen_together(study, design)}.", *_excluded(study), *map(_earlier, study.extends)]


def planned_json(study: StudyRecord) -> dict[str, Any]:
    """What study.json says of the design, as plain data; empty of one from before it was written."""
    content = study.to_json()
    return {} if study.design is None else {name: content[name] for name in PLANNED if name in content}


def _design(design: Mapping[str, Any]) -> str:
    """`random, points 20, seed 0, of epochs (3 values) and optim.learning_rate from uniform(low 0.1, high 1.0)`."""
    name, parts = str(design["design"]).replace("_", " "), design.get("designs")
    if parts is not None:
        return f"{name} of ({'), ('.join(map(_design, parts))})"
    settings = [f"{field} {_written(value)}" for field, value in design.items() if _is_setting(field, value)]
    said = ", ".join([name, *settings])
    axes = design.get("axes") or {}
    return f"{said}{', ' if settings else ' '}of {_joined([_axis(*axis) for axis in axes.items()])}" if axes else said


def _axes(design: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The axes of a design and of those that it is made of, and the paths that listed arms set."""
    axes = list((design.get("axes") or {}).items())
    listed = dict.fromkeys(path for arm in design.get("chosen") or () for path in arm)
    axes += [(path, [arm[path] for arm in design["chosen"] if path in arm]) for path in listed]
    return axes + [axis for inner in design.get("designs") or () for axis in _axes(inner)]


def _is_setting(field: str, value: Any) -> bool:
    return field not in ("design", "axes", "designs", "chosen") and value not in (None, {}, [])


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{name} = {' x '.join(map(str, sources))}" for name, sources in value.items())
    return str(value)


def _axis(name: str, axis: Any) -> str:
    if isinstance(axis, Mapping) and isinstance(axis.get("distribution"), str):
        fields = ", ".join(f"{field} {value}" for field, value in axis.items() if field != "distribution")
        return f"{name} from {axis['distribution']}({fields})"
    if isinstance(axis, Mapping):
        return f"{name} ({_joined(list(axis))})"
    return f"{name} ({_count(len(axis), 'value')})"


def _fallen_together(study: StudyRecord, design: Mapping[str, Any]) -> str:
    """That drawn points fell on one arm, where they did."""
    points, arms = design.get("points"), study.arms
    if points is None or arms is None or arms + study.left_out >= points:
        return ""
    return f", for {_count(points - arms - study.left_out, 'point')} fell on arms that others had"


def _earlier(entry: EarlierEntry) -> str:
    """Which finished trials of an earlier study stay, and how that study was another one."""
    of = "" if entry.design is None else f" ({_design(entry.design)})"
    apart = f": {'; '.join(entry.differences)}" if entry.differences else ""
    stay = "stays" if entry.trials == 1 else "stay"
    return f"{_count(entry.trials, 'finished trial')} of an earlier study{of} {stay} beside these{apart}."


def _excluded(study: StudyRecord) -> list[str]:
    if not study.exclude:
        return []
    by = _joined([_exclusion(entry) for entry in study.exclude])
    of = "" if study.arms is None else f"{study.left_out} of {_count(study.arms + study.left_out, 'arm')} "
    return [f"Left out: {of}by {by}."]


def _exclusion(entry: ExclusionEntry) -> str:
    text = f"the function {entry.function} (code {entry.code})" if entry.function is not None else f"{entry.text!r}"
    return text if entry.left_out is None else f"{text} ({entry.left_out})"


def _joined(texts: Sequence[str]) -> str:
    shown = [*texts[:SHOWN], *([f"{len(texts) - SHOWN} more"] if len(texts) > SHOWN else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
