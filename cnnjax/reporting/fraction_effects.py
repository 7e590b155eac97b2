"""The effects that a fraction of two-level axes shows, each with those that it cannot be told from.

An effect is the difference between the means of the arms with sign 1 and of those with sign -1 (Box, Hunter and Hunter
2005, chapter 5): of an axis, its second value less its first; of an interaction, by the product of signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from cnnjax.aliasing import Effect, Fraction, chain_text, fraction_of, sentences
from cnnjax.documents.document import Column, Grid
from cnnjax.reporting.intervals import Spread, listed, paired
from cnnjax.reporting.labels import key
from cnnjax.reporting.statistics import laid_out, quantity_of
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.tables import interval_cells, interval_heads
from cnnjax.reporting.units import plural, unit


@dataclass(frozen=True)
class Contrast:
    """One chain of effects that are not told apart, with their signs, and what it amounts to, paired by seed (and
    fold)."""

    chain: Mapping[Effect, int]
    spread: Spread


@dataclass(frozen=True)
class Part:
    """Arms that are a fraction. signs: of each axis of two values, in every arm. levels: these two values as texts."""

    fraction: Fraction
    arms: Sequence[Arm]
    signs: Sequence[Mapping[str, int]]
    levels: Mapping[str, tuple[str, str]]


def fraction(table: Table) -> Fraction | None:
    """The fraction that the arms are of the axes of two values, at every setting of the others; or None.

    Where an extended study's arms are none, that of the arms which the present design may have.
    """
    found = _part(table)
    return found and found.fraction


def _part(table: Table) -> Part | None:
    """The arms that are a fraction: all, or those of an extended study whose values are the present design's."""
    whole = _part_of(table, {axis.path: range(len(axis.values)) for axis in table.axes})
    if whole is not None or table.study is None or not table.study.extends:
        return whole
    designed = {path: set(map(key, values)) for path, values in _values_of(table.study.design or {}).items()}
    return _part_of(
        table,
        {
            axis.path: [n for n, value in enumerate(axis.values) if key(value) in designed.get(axis.path, {key(value)})]
            for axis in table.axes
        },
    )


def _part_of(table: Table, places: Mapping[str, Sequence[int]]) -> Part | None:
    """The arms with the values at these places of each axis; None where they are no fraction."""
    at = {arm.number: {axis.path: axis.position(arm.values[axis.path]) for axis in table.axes} for arm in table.arms}
    arms = [arm for arm in table.arms if all(at[arm.number][path] in own for path, own in places.items())]
    two = {path: own for path, own in places.items() if len(own) == 2}
    signs = [{path: 1 if at[arm.number][path] == own[1] else -1 for path, own in two.items()} for arm in arms]
    rest = [{path: value for path, value in arm.values.items() if path not in two} for arm in arms]
    found = fraction_of(signs, list(map(key, rest)))
    texts = {axis.path: axis.texts for axis in table.axes}
    levels = {path: (texts[path][own[0]], texts[path][own[1]]) for path, own in two.items()}
    return found and Part(found, arms, signs, levels)


def _values_of(design: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of the axes of a design and of those that it is made of, where it lists them."""
    values = {path: list(axis) for path, axis in (design.get("axes") or {}).items() if isinstance(axis, list)}
    for inner in design.get("designs") or ():
        values |= _values_of(inner)
    return values


def contrasts(table: Table, metric: str) -> list[Contrast]:
    """The chains of main effects and interactions of two axes, each over the seeds with which all arms have finished.

    Empty where the arms are no fraction.
    """
    part = _part(table)
    if part is None:
        return []
    numbers = [arm.number for arm in part.arms]
    wide = table.cells.pivot(index=list(table.repeats.values()), columns="arm", values=metric)
    wide = wide.reindex(columns=numbers).dropna()
    of, contrasts = quantity_of(table, metric), []
    for chain in part.fraction.chains():
        first = next(iter(chain))
        signs = [prod(row[axis] for axis in first) for row in part.signs]
        differences = (wide * signs).mean(axis=1) * 2
        contrasts.append(Contrast(chain, paired(laid_out(differences), of)))
    return contrasts


def fraction_grid(table: Table, metric: str) -> Grid:
    """The contrasts of `metric`, the largest first."""
    here, part, names = unit(table, metric), _part(table), {axis.path: axis.name for axis in table.axes}
    rows = []
    # Effects that differ in their last bits alone tie, and keep their order.
    for contrast in sorted(contrasts(table, metric), key=lambda own: -abs(float(f"{own.spread.mean:.12g}"))):
        assert part is not None
        (first, _), *others = contrast.chain.items()
        text = chain_text(part.fraction, {first: 1}, names)
        if len(first) == 1:
            text = f"{text}: {' to '.join(part.levels[next(iter(first))])}"
        spread = contrast.spread
        numbers = (str(spread.n), here.difference(spread), *interval_cells(table, metric, spread))
        rows.append((text, chain_text(part.fraction, dict(others), names), *numbers))
    words = (Column("effect"), Column("not told from"))
    heads = ("n", f"on {here.label}", *interval_heads(table, metric))
    return Grid("", (*words, *(Column(head, "number") for head in heads)), rows)


def fraction_notes(table: Table) -> list[str]:
    """What the fraction is and what is confused, and how to read its effects; none where the arms are none.

    Of an extended study with a fraction among its designs, whose arms are none, that this is why.
    """
    part = _part(table)
    if part is None:
        return [NO_FRACTION] if _lost(table) else []
    by, counted, others = listed(table.repeats), f"{table.replicate}s", len(table.arms) - len(part.arms)
    kept = (
        f"Its arms are the {len(part.arms)} that have the values of the present design alone: {plural(others, 'arm')} "
    )
    return [
        *sentences(part.fraction, {axis.path: axis.name for axis in table.axes}),
        *([f"{kept}of the study that it extends {'is' if others == 1 else 'are'} left out."] if others else []),
        "An effect is the mean of the arms where the product of its axes' signs is 1, less that of the others; of an "
        f"axis, its second value less its first. It is paired by {by}, over the n {counted} with which all "
        "arms have finished. Where others are not told from it, it is their sum (those with a minus are taken off). "
        "None is corrected for the number of effects.",
    ]


NO_FRACTION = (
    "Effects of the fraction are not estimated: arms of an extended study are no fraction; report the studies in "
    "folders of their own."
)


def _lost(table: Table) -> bool:
    study = table.study
    if study is None or not study.extends:
        return False
    return any(_is_fraction(design or {}) for design in (study.design, *(each.design for each in study.extends)))


def _is_fraction(design: Mapping[str, Any]) -> bool:
    return design.get("design") == "fractional_factorial" or any(map(_is_fraction, design.get("designs") or ()))


def fraction_json(table: Table, metrics: tuple[str, ...]) -> dict[str, Any]:
    """What `arms.json` holds of the fraction; empty where the arms are none."""
    part = _part(table)
    if part is None:
        return {"not_estimated": NO_FRACTION} if _lost(table) else {}
    found = part.fraction
    generators = {made: {"of": list(of), "sign": sign} for made, (of, sign) in found.generators.items()}
    effects = [
        {
            "metric": metric,
            "effects": [{"axes": [axis for axis in found.axes if axis in e], "sign": s} for e, s in own.chain.items()],
            **own.spread.to_json(),
        }
        for metric in metrics
        for own in contrasts(table, metric)
    ]
    of = {} if len(part.arms) == len(table.arms) else {"arms": [arm.number for arm in part.arms]}
    return {"resolution": found.resolution, "generators": generators, **of, "contrasts": effects}
