"""The effects that a fraction of two-level axes shows, each with those that it cannot be told from.

An effect is the difference between the means of the arms with sign 1 and of those with sign -1 (Box, Hunter and Hunter
2005, chapter 5): of an axis, its second value less its first; of an interaction, by the product of signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from cnnjax.aliasing import Effect, Fraction, chain_text, fraction_of, sentences
from cnnjax.documents.document import Column, Grid
from cnnjax.reporting.intervals import Spread, paired
from cnnjax.reporting.labels import key
from cnnjax.reporting.statistics import quantity_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import unit


@dataclass(frozen=True)
class Contrast:
    """One chain of effects that are not told apart, with their signs, and what it amounts to, paired by seed."""

    chain: Mapping[Effect, int]
    spread: Spread


def fraction(table: Table) -> Fraction | None:
    """The fraction that the arms are of the axes of two values, at every setting of the others; or None."""
    return fraction_of(*_signs(table))


def _signs(table: Table) -> tuple[list[dict[str, int]], list[str]]:
    """The sign of each axis of two values in every arm, and the arm's other values."""
    two = [axis for axis in table.axes if len(axis.values) == 2]
    rows = [{axis.path: 2 * axis.position(arm.values[axis.path]) - 1 for axis in two} for arm in table.arms]
    rest = [{path: value for path, value in arm.values.items() if path not in rows[0]} for arm in table.arms]
    return rows, list(map(key, rest))


def contrasts(table: Table, metric: str) -> list[Contrast]:
    """The chains of main effects and interactions of two axes, each over the seeds with which all arms have finished.

    Empty where the arms are no fraction.
    """
    found = fraction(table)
    if found is None:
        return []
    rows, _ = _signs(table)
    numbers = [arm.number for arm in table.arms]
    wide = table.results.pivot(index="replicate", columns="arm", values=metric).reindex(columns=numbers).dropna()
    of, contrasts = quantity_of(table, metric), []
    for chain in found.chains():
        first = next(iter(chain))
        signs = [prod(row[axis] for axis in first) for row in rows]
        differences = (wide * signs).mean(axis=1) * 2
        contrasts.append(Contrast(chain, paired(differences, of)))
    return contrasts


def fraction_grid(table: Table, metric: str) -> Grid:
    """The contrasts of `metric`, the largest first."""
    here, found, axes = unit(table, metric), fraction(table), {axis.path: axis for axis in table.axes}
    names = {path: axis.name for path, axis in axes.items()}
    rows = []
    # Effects that differ in their last bits alone tie, and keep their order.
    for contrast in sorted(contrasts(table, metric), key=lambda own: -abs(float(f"{own.spread.mean:.12g}"))):
        assert found is not None
        (first, _), *others = contrast.chain.items()
        text = chain_text(found, {first: 1}, names)
        if len(first) == 1:
            axis = axes[next(iter(first))]
            text = f"{text}: {axis.texts[0]} to {axis.texts[1]}"
        spread = contrast.spread
        sign = "+" if spread.mean > 0 else ""
        numbers = (str(spread.n), sign + here.mean(spread), here.interval(spread))
        rows.append((text, chain_text(found, dict(others), names), *numbers))
    words = (Column("effect"), Column("not told from"))
    numbers = (Column("n", "number"), Column(f"on {here.label}", "number"), Column("95% interval", "number"))
    return Grid("", (*words, *numbers), rows)


def fraction_notes(table: Table) -> list[str]:
    """What the fraction is and what is confused, and how to read its effects; none where the arms are none."""
    found = fraction(table)
    if found is None:
        return []
    replicate = table.replicate
    return [
        *sentences(found, {axis.path: axis.name for axis in table.axes}),
        "An effect is the mean of the arms where the product of its axes' signs is 1, less that of the others; of an "
        f"axis, its second value less its first. It is paired by {replicate}, over the n {replicate}s with which all "
        "arms have finished. Where others are not told from it, it is their sum (those with a minus are taken off). "
        "None is corrected for the number of effects.",
    ]


def fraction_json(table: Table, metrics: tuple[str, ...]) -> dict[str, Any]:
    """What `arms.json` holds of the fraction; empty where the arms are none."""
    found = fraction(table)
    if found is None:
        return {}
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
    return {"resolution": found.resolution, "generators": generators, "contrasts": effects}
