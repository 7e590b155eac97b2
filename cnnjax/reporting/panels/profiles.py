"""How the results of single seeds are distributed, arm by arm: the middle half, the profile, and which arm's results
are almost always the better ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax.documents.counts import NONE
from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.intervals import listed
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.notes import incomplete_note, survivors_note
from cnnjax.reporting.picture_profiles import Line, profiled
from cnnjax.reporting.statistics import (
    arms,
    chosen,
    complete,
    foremost,
    measure,
    quantity_of,
    reference,
    side_by_side,
    spread_of,
)
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import over
from cnnjax.reporting.units import json_number, plural, unit
from cnnjax.statistics.bootstrap import Profile, profile
from cnnjax.statistics.outperforming import FEWEST as FEWEST_OF_ORDER
from cnnjax.statistics.outperforming import MOST, Order, stochastic_order
from cnnjax.statistics.results import Estimate, Floats
from cnnjax.statistics.trimmed import FEWEST as FEWEST_OF_INTERVAL
from cnnjax.statistics.trimmed import interquartile

FEWEST, DRAWN, ROWS, ALPHA = 5, 6, 40, 0.05
"""The fewest seeds of an arm, the most arms that are drawn, the most rows, and the level of all orders together."""


@dataclass(frozen=True)
class Own:
    """An arm's results, one a seed. middle: their interquartile mean. scores: results of any arm, ascending; profile:
    the share of the seeds at least as good as each. better, worse: whether its results are almost always better, or
    worse, than those of the arm that all stand beside; None of that arm, and without one."""

    arm: int
    middle: Estimate
    scores: Floats
    profile: Profile
    better: Order | None
    worse: Order | None


def profiles_panel(table: Table) -> Finding | None:
    """Of two arms and more with five finished seeds and more. None of folds, which share their seeds, and of adaptive
    studies, in which results decided how many seeds an arm has."""
    by = measure(table)
    if by.compared is None or by.quote is None or table.replicate != "seed" or table.adaptive is not None:
        return None
    found = _found(table, by.quote, higher_is_better=by.compared.higher_is_better)
    if len(found) < 2:
        return None
    title = f"{unit(table, by.quote).label}: the share of seeds at least as good as each result"
    drawn = Sketch("profiles", title, lambda: _drawn(table, found, by.quote or ""))
    note = paragraph(_note(table, found))
    data = {"metric": by.quote, "beside": reference(table), "arms": [_json(own) for own in found]}
    return Finding("profiles", "Single seeds", [_grid(table, found, by.quote), note, drawn], data=data)


def _found(table: Table, metric: str, *, higher_is_better: bool) -> list[Own]:
    whole, wide, of = complete(table), side_by_side(table, metric=metric), quantity_of(table, metric)
    shown = [arm.number for arm in foremost(table, limit=ROWS) if arm.number in whole and arm.number in wide]
    results = {number: wide[number].dropna().to_numpy(float) for number in shown}
    results = {number: own for number, own in results.items() if len(own) >= FEWEST}
    if len(results) < 2:
        return []
    against, sign = reference(table), 1 if higher_is_better else -1
    scores = np.unique(np.concatenate(list(results.values())))
    # Both directions of every other arm, corrected together after Bonferroni.
    confidence = 1 - ALPHA / max(1, 2 * (len(results) - (against in results)))
    found = []
    for number, own in results.items():
        beside = results.get(against) if against is not None and number != against else None
        orders = (None, None)
        if beside is not None:
            pairs = (sign * own, sign * beside), (sign * beside, sign * own)
            orders = tuple(stochastic_order(*pair, confidence=confidence, threshold=MOST) for pair in pairs)
        middle = interquartile(own).within(of.low, of.high)
        found.append(Own(number, middle, scores, _at_least(own, scores, sign), *orders))
    return found


def _at_least(own: Floats, scores: Floats, sign: int) -> Profile:
    """The share at least as good as each of the scores: that above any number between it and the next worse one."""
    apart = (scores[1:] + scores[:-1]) / 2
    thresholds = [scores[0] - 1, *apart] if sign > 0 else [*-apart, -scores[-1] - 1]
    return profile((sign * own)[:, None], thresholds)


def _grid(table: Table, found: Sequence[Own], metric: str) -> Grid:
    """Without the columns that have nothing to say for any arm: of intervals and orders, where seeds are too few."""
    here, frame, against = unit(table, metric), arms(table), reference(table)
    rows = []
    for own in found:
        mean = spread_of(frame, own.arm, metric)
        middle = here.number(own.middle.value), _interval(here.factor, here.decimals, own.middle)
        rows.append(
            (str(own.arm), table.arms[own.arm - 1].label, str(own.middle.n), here.mean(mean), *middle, *_order(own))
        )
    order = [f"beside arm {against}, almost always", "violation", "at most"]
    heads = ["n", here.label, "interquartile mean", over(table), *order]
    columns = [Column("#"), Column("arm"), *(Column(head, "number") for head in heads)]
    said = [at for at in range(len(columns)) if any(row[at] != NONE for row in rows)]
    shown = [tuple(row[at] for at in said) for row in rows]
    return Grid("", tuple(columns[at] for at in said), shown, keys=[str(own.arm) for own in found])


def _interval(factor: float, decimals: int, own: Estimate) -> str:
    if math.isnan(own.low):
        return NONE
    low, high = (f"{end * factor + 0.0:.{decimals}f}" for end in (own.low, own.high))
    return f"[{low}, {high}]"


def _order(own: Own) -> tuple[str, str, str]:
    """The verdict, and the violation ratio and its bound in the direction of the smaller one."""
    if own.better is None or own.worse is None:
        return NONE, NONE, NONE
    word, least = min((("better", own.better), ("worse", own.worse)), key=lambda each: _key(each[1]))
    numbers = [NONE if math.isnan(value) else f"{value:.2f}" for value in (least.violation, least.bound)]
    verdict = NONE if math.isnan(least.bound) else word if least.dominates else "neither"
    return verdict, f"{word}: {numbers[0]}" if numbers[0] != NONE else NONE, numbers[1]


def _key(order: Order) -> float:
    return math.inf if math.isnan(order.violation) else order.violation


def _note(table: Table, found: Sequence[Own]) -> str:
    n = sorted({own.middle.n for own in found})
    counts = f"n={n[0]}" if len(n) == 1 else f"n={n[0]} to {n[-1]}"
    few = f" It takes {FEWEST_OF_INTERVAL} seeds for its interval." if n[0] < FEWEST_OF_INTERVAL else ""
    fewer = f" It takes {FEWEST_OF_ORDER} seeds of both." if n[0] < FEWEST_OF_ORDER else ""
    order = (
        " Almost always better: the arm's seeds, each set in order from worst to best, are ahead of the other arm's "
        "almost throughout; the violation ratio is the squared part where they are behind, 0 for nowhere and 1 for "
        "everywhere, and at most is its upper bound, below which threshold of "
        f"{MOST} it counts as found (almost stochastic order, del Barrio et al. 2018; {1 - ALPHA:.0%} for all arms and "
        f"both directions together, after Bonferroni).{fewer}"
        if reference(table) is not None
        else ""
    )
    return (
        f"Of single seeds ({counts} an arm), where the tables above are of means. Interquartile mean: the mean of the "
        "middle half of an arm's seeds, which one lucky or unlucky seed does not move (Agarwal et al. 2021); its "
        f"interval is that of a trimmed mean (Tukey and McLaughlin 1963; Yuen 1974).{few}{order} Seeds are not paired "
        f"here, so that differences show less than among the comparisons.{incomplete_note(table, len(found))}"
        f"{survivors_note(table)}"
    )


def _drawn(table: Table, found: Sequence[Own], metric: str) -> Drawing:
    here, by = unit(table, metric), measure(table)
    first = [arm.number for arm in foremost(table, limit=DRAWN)]
    shown = [own for own in found if own.arm in first] or list(found[:DRAWN])
    banded = {reference(table), chosen(table)} & {own.arm for own in shown} or {shown[0].arm}
    lines = [
        Line(
            table.arms[own.arm - 1],
            scores=tuple(here.factor * score for score in own.scores),
            shares=_percent(own.profile.shares),
            low=_percent(own.profile.low),
            high=_percent(own.profile.high),
            banded=own.arm in banded,
        )
        for own in shown
    ]
    assert by.compared is not None
    left = len(found) - len(shown)
    fewer = f" {plural(left, 'other arm')} not drawn." if left else ""
    caption = (
        f"At each result the share of an arm's seeds (n={shown[0].middle.n}) that did at least as well: the further to "
        "the better side a line reaches, the better the arm, and a steep line is of seeds that agree. Band, of "
        f"{'arm' if len(banded) == 1 else 'arms'} {listed(map(str, sorted(number for number in banded if number)))}: "
        "the 95% interval of each share over seeds (exact binomial; Clopper and Pearson 1934), at each result on its "
        "own; arms.json has that of every arm."
        f"{fewer}"
    )
    return profiled(lines, here=here, higher_is_better=by.compared.higher_is_better, caption=caption)


def _percent(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(100 * share for share in shares)


def _json(own: Own) -> dict[str, Any]:
    middle = {"value": own.middle.value, "low": own.middle.low, "high": own.middle.high}
    orders = {"better": own.better, "worse": own.worse}
    return {
        "arm": own.arm,
        "n": own.middle.n,
        "interquartile_mean": {name: json_number(value) for name, value in middle.items()},
        "profile": {"at": own.scores.tolist(), "share": list(own.profile.shares)}
        | {end: [json_number(value) for value in getattr(own.profile, end)] for end in ("low", "high")},
        "almost_always": {
            name: None if each is None else {part: json_number(getattr(each, part)) for part in ("violation", "bound")}
            for name, each in orders.items()
        },
    }
