"""What axes do together, in a study that combines their values: an analysis of variance and the pairs that interact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cnnjax.documents.counts import NONE
from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.asked import once
from cnnjax.reporting.compared import ALPHA
from cnnjax.reporting.designs import is_factorial, withheld
from cnnjax.reporting.drawing import FEW
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import FEWEST, NORMAL, Spread
from cnnjax.reporting.intervals import Term as Part
from cnnjax.reporting.labels import Axis, key
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.notes import survivors_note
from cnnjax.reporting.picture_interactions import acting_together
from cnnjax.reporting.statistics import measure, quantity_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import Unit, json_number, p_said, p_value, unit
from cnnjax.statistics.factorial import Factorial, Interaction, Term, factorial
from cnnjax.statistics.families import adjusted
from cnnjax.statistics.results import ties

MOST_NAMED = 3
RESULT, SEED = "(result)", "(seed)"
"""Columns beside those of axes, whose paths have no brackets."""


@dataclass(frozen=True)
class Pair:
    """Two axes and what they do together. holm: the p of their interaction, corrected for all terms. largest: of its
    differences of differences to the base's values the one that stands out most, `change` its size with an interval,
    NaN where there is none. found: whether they interact."""

    axes: tuple[Axis, Axis]
    term: Term
    holm: float
    largest: Interaction | None
    change: Spread
    found: bool


@dataclass(frozen=True)
class Analysis:
    """The analysis of a study: of its terms, `holm` are the corrected p, and `shares` their parts of the sum of
    squares. seeds: how many seeds it is of."""

    of: Factorial
    holm: tuple[float, ...]
    shares: tuple[float, ...]
    pairs: tuple[Pair, ...]
    seeds: int

    @property
    def found(self) -> list[Pair]:
        """The pairs that interact, the smallest p first."""
        return sorted((pair for pair in self.pairs if pair.found), key=lambda pair: pair.holm)


def interactions_panel(table: Table) -> Finding | None:
    """Main effects and interactions of two axes as an analysis of variance, with seeds as blocks.

    None where arms are not compared, where axes are not varied together, or of fewer than three seeds.
    """
    by = measure(table)
    if by.compared is None or by.quote is None or not is_factorial(table):
        return None
    if (why := withheld(table)) is not None:
        return Finding("interactions", "What axes do together", [paragraph(f"No interactions are given. {why}")])
    found = analysis(table, metric=by.quote)
    if found is None:
        return None
    here = unit(table, by.quote)
    drawn = Sketch("interactions", f"{here.label}: axes that act together", partial(_drawn, table, found, by.quote))
    blocks: list[Block | Sketch] = [_grid(table, found), paragraph(_note(table, found, here)), drawn]
    return Finding("interactions", "What axes do together", blocks, _answers(found, here), _json(found, by.quote))


@once
def analysis(table: Table, *, metric: str) -> Analysis | None:
    """The analysis of `metric` by all axes; None of fewer than three seeds, and where no interaction can be told."""
    trials = table.results.dropna(subset=metric)
    if trials["seed"].nunique() < FEWEST:
        return None
    values = {arm.number: arm.values for arm in table.arms}
    texts = {axis.path: [axis.text(values[number][axis.path]) for number in trials["arm"]] for axis in table.axes}
    if any(len(set(own)) < 2 for own in texts.values()):
        return None
    frame = Frame({**texts, RESULT: trials[metric].to_numpy(), SEED: trials["seed"].to_numpy()})
    of = factorial(_base_first(frame, table.axes), factors=list(texts), response=RESULT, seed=SEED)
    tested = [math.nan if term.factors in ((), (SEED,)) else term.p for term in of.terms]
    holm = tuple(map(float, adjusted(tested)))
    results = frame[RESULT].to_numpy(float)
    total = math.nan if ties(results) else float(((results - results.mean()) ** 2).sum())
    shares = tuple(term.sum_of_squares / total for term in of.terms)
    both = [(term, p) for term, p in zip(of.terms, holm, strict=True) if len(term.factors) == 2]
    if not any(term.freedom for term, _ in both):
        return None
    pairs = tuple(_pair(table, of, term, p, metric) for term, p in both)
    return Analysis(of, holm, shares, pairs, trials["seed"].nunique())


def _base_first(frame: Frame, axes: Sequence[Axis]) -> Frame:
    """The rows in the axes' order with the base's values first: differences are to the values that come first."""
    orders = {axis.path: {text: place for place, text in enumerate(_levels(axis))} for axis in axes}
    paths = list(orders)
    return frame.sort_values(paths, key=lambda own: own.map(orders[str(own.name)]), kind="stable", ignore_index=True)


def _levels(axis: Axis) -> list[str]:
    """The texts of an axis's values, the base's first."""
    base = [axis.text(axis.base)] if key(axis.base) in map(key, axis.values) else []
    return list(dict.fromkeys([*base, *axis.texts]))


def _pair(table: Table, of: Factorial, term: Term, holm: float, metric: str) -> Pair:
    by_path = {axis.path: axis for axis in table.axes}
    axes = by_path[term.factors[0]], by_path[term.factors[1]]
    quantity = quantity_of(table, metric)
    largest, change, most = None, Spread(0, math.nan, math.nan, math.nan, math.nan), -math.inf
    for each in of.interactions:
        own = each.difference
        if each.factors != term.factors or math.isnan(own.low):
            continue
        half = math.hypot(own.high - own.value, NORMAL * math.sqrt(Part(own.value, quantity, arms=2).sampling))
        if half and abs(own.value) / half > most:
            largest, most = each, abs(own.value) / half
            change = Spread(own.n, own.value, math.nan, own.value - half, own.value + half, own.method)
    # Seeds may be sure of what the examples alone could have made.
    counted = bool(quantity.proportion and quantity.examples)
    return Pair(axes, term, holm, largest, change, holm < ALPHA and (not counted or most > 1))


def _grid(table: Table, found: Analysis) -> Grid:
    heads = ("df", "F", "p", "p, corrected", "partial η²", "share, %")
    rows = [
        (
            _name(table, term.factors),
            str(term.freedom),
            _f(term.f),
            p_value(term.p),
            p_value(holm),
            f"{term.partial_eta_squared:.2f}" if term.partial_eta_squared == term.partial_eta_squared else NONE,
            NONE if math.isnan(share) else f"{100 * share:.1f}",
        )
        for term, holm, share in zip(found.of.terms, found.holm, found.shares, strict=True)
    ]
    return Grid("", (Column("what varies"), *(Column(head, "number") for head in heads)), rows)


def _f(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _name(table: Table, factors: tuple[str, ...]) -> str:
    if factors in ((), (SEED,)):
        return "seed" if factors else "rest"
    names = {axis.path: axis.name for axis in table.axes}
    return " × ".join(names[path] for path in factors)


def _said(pair: Pair) -> str:
    return f"{pair.axes[0].name} × {pair.axes[1].name}"


def _answers(found: Analysis, here: Unit) -> tuple[str, ...]:
    if not found.found:
        return ()
    first, *others = found.found
    named = ", ".join(f"{_said(pair)} ({p_said(pair.holm)})" for pair in others[: MOST_NAMED - 1])
    more = f" and {len(others) - MOST_NAMED + 1} more" if len(others) >= MOST_NAMED else ""
    rest = f" So do {named}{more}." if len(others) > 1 else f" So does {named}." if others else ""
    tests = sum(not math.isnan(p) for p in found.holm)
    return (
        f"{first.axes[0].name} and {first.axes[1].name} act together ({p_said(first.holm)}, corrected for {tests} "
        f"terms, partial η²={first.term.partial_eta_squared:.2f}, n={found.seeds} seeds): {_change(first, here)}."
        f"{rest} What one of them does alone, on average over the other, misleads.",
    )


def _change(pair: Pair, here: Unit) -> str:
    """The difference of differences that stands out most."""
    if pair.largest is None:
        return f"what {pair.axes[0].name} does depends on {pair.axes[1].name}"
    (one, other), (value, setting) = pair.axes, pair.largest.levels
    apart, side = here.size(abs(pair.change.mean)), "more" if pair.change.mean > 0 else "less"
    interval = here.interval(pair.change)
    return (
        f"from {one.name}={_levels(one)[0]} to {value}, {here.name} changes by {apart} {interval} {side} at "
        f"{other.name}={setting} than at {_levels(other)[0]}"
    )


def _note(table: Table, found: Analysis, here: Unit) -> str:
    of, quantity = found.of, quantity_of(table, measure(table).quote or "")
    tested = [pair for pair in found.pairs if not math.isnan(pair.holm)]
    unsure = [_said(pair) for pair in tested if pair.holm < ALPHA and not pair.found]
    verdict = ""
    if tested and not any(pair.holm < ALPHA for pair in tested):
        least = min(pair.holm for pair in tested)
        verdict = (
            f"No interaction is found (the smallest corrected p is {p_value(least)}), which is not to say that there "
            "is none. "
        )
    if unsure:
        verdict += (
            f"Seeds tell of an interaction of {', '.join(unsure)}, but so few examples may have made it: it does not "
            "count as found. "
        )
    reasons: dict[str, list[str]] = {}
    for term in of.terms:
        if term.why and term.factors != (SEED,):
            reasons.setdefault(term.why, []).append(_name(table, term.factors))
    untested = "".join(f" Not tested, for {why}: {', '.join(names)}." for why, names in reasons.items())
    if any(min(len(axis.values) for axis in pair.axes) > FEW for pair in found.found):
        verdict += f"Pairs of axes with more than {FEW} values each are not drawn. "
    left = f" {of.left_out} results are missing." if of.left_out else ""
    more = "".join(f" {note[:1].upper()}{note[1:]}." for note in of.notes)
    shares = "" if of.balanced else " (unbalanced, they need not add up to 100%)"
    shared = bool(quantity.proportion and quantity.examples)
    return (
        f"{verdict}Analysis of variance of {here.name}, n={of.n} trials of {found.seeds} seeds, each seed a block, "
        "with all main effects and interactions of two axes (type II); what three axes do together is part of the "
        "rest. p is of the choice of seeds, on these examples; corrected: after Holm (1979), for all terms of this "
        f"table. Partial η²: a term's part of its own and the rest's sum of squares; share: its part of all{shares}"
        f"{COUNTED * shared}. Means and differences of each value stand "
        f"among the effects{WIDENED * shared}.{left}{more}{untested}{survivors_note(table)}"
    )


WIDENED = ", whose p allows for the choice of examples too, and may be larger for that"
COUNTED = (
    ". An interaction counts as found if the interval of a difference of differences leaves 0 out too, widened by the "
    "fewest examples that can make it"
)


def _json(found: Analysis, metric: str) -> dict[str, Any]:
    terms = [
        {
            "axes": [name for name in term.factors if name != SEED],
            "term": "seed" if term.factors == (SEED,) else "axes" if term.factors else "rest",
            "df": term.freedom,
            "sum_of_squares": json_number(term.sum_of_squares),
            "share": json_number(share),
            "f": json_number(term.f),
            "p": json_number(term.p),
            "holm": json_number(holm),
            "partial_eta_squared": json_number(term.partial_eta_squared),
            "why": term.why or None,
        }
        for term, holm, share in zip(found.of.terms, found.holm, found.shares, strict=True)
    ]
    pairs = [
        {
            "axes": [axis.path for axis in pair.axes],
            "found": pair.found,
            "values": None if pair.largest is None else list(pair.largest.levels),
            "difference_of_differences": None if pair.largest is None else pair.change.to_json(),
        }
        for pair in found.pairs
    ]
    of = found.of
    counts = {"n": of.n, "seeds": found.seeds, "left_out": of.left_out, "balanced": of.balanced}
    return {"metric": metric, "alpha": ALPHA, **counts, "terms": terms, "pairs": pairs, "notes": list(of.notes)}


def _drawn(table: Table, found: Analysis, metric: str) -> Drawing | None:
    """The pairs that interact, as lines."""
    pairs = [(*pair.axes, p_said(pair.holm)) for pair in found.found]
    return acting_together(table, pairs, metric=metric)
