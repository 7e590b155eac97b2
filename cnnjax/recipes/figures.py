"""The figures of cards and of records, as text."""

from __future__ import annotations

import math
from collections import Counter

from cnnjax.cards import Band, Card, Published
from cnnjax.records.reproduction_json import Measured, ReproductionRecord
from cnnjax.records.specification import BEFORE, Specification, specification_of
from cnnjax.reporting import Spread
from cnnjax.reporting.units import Unit, unit_of
from cnnjax.reporting.verdicts import FAILS, HOLDS, NONE, OPEN, SAME


def unit_named(metric: str, specification: Specification | None = None, *, largest: float = 1.0) -> Unit:
    """How a metric of the test part is printed (`accuracy`): as its specification says, or that of its name."""
    known = specification or specification_of(f"test_{metric}", BEFORE)
    return unit_of(known, metric, largest=largest)


def published(figure: Published, *, named: bool = False) -> str:
    """`76.13% (n = 1)`; `named` puts the metric before it."""
    unit = unit_named(figure.metric, largest=abs(figure.mean))
    spread = "" if figure.sd is None else f" ± {unit.number(figure.sd)}"
    n = "" if figure.n is None else f" (n = {figure.n})"
    return f"{f'{unit.name} ' if named else ''}{unit.number(figure.mean)}{spread}{_symbol(unit)}{n}"


def band(of: Band, *, short: bool = False) -> str:
    """`accuracy at least 99.10%, mean of 5 seeds`; `short` leaves out metric and seeds."""
    unit = unit_named(of.metric, largest=abs(of.low))
    low, high = (f"{unit.number(value)}{_symbol(unit)}" for value in (of.low, of.high))
    open_above = (unit.is_percent and of.high >= 1) or math.isinf(of.high)
    limits = f"at least {low}" if open_above else f"{low} to {high}"
    return limits if short else f"{unit.name} {limits}, mean of {of.n} seeds"


def expected(card: Card) -> str:
    """What a card expects, in short: its first published figure, else its band, or how many claims it has."""
    if card.published:
        first = card.published[0]
        named = "" if first.metric == "accuracy" else f"{first.metric.removesuffix('_accuracy').replace('_', ' ')} "
        return f"{named}{published(first)}"
    if card.band is not None:
        return band(card.band, short=True)
    return f"{len(card.claims)} claim{'s' * (len(card.claims) != 1)}" if card.claims else "-"


def measured(result: Measured) -> str:
    """`99.15 ± 0.04% [99.10, 99.20], n = 5`."""
    if result.mean is None:
        return "no seed has a number"
    unit = unit_of(result.specification, result.metric, largest=abs(result.mean))
    spread = _spread(result)
    interval = f" {unit.interval(spread)}" if spread.has_interval else ""
    return f"{unit.mean(spread).removesuffix(' (n=1)')}{_symbol(unit)}{interval}, n = {result.n}"


SHORT = {HOLDS: "holds", FAILS: "fails", SAME: "same", OPEN: "open", NONE: "without verdict"}
LEGEND = "of claims, open: not told apart; same: no difference larger than the claim's margin"
"""What the short words mean that are not words of verdicts."""


def reproduced(record: ReproductionRecord) -> str:
    """What a record says, in short: `pass 99.15 ± 0.04%, n = 5`; `1 holds, 2 open, n = 5`."""
    if record.result is not None:
        short = record.result.model_copy(update={"low": None, "high": None})
        return f"{record.verdict or 'no verdict:'} {measured(short)}"
    counts = Counter(own.word for own in record.claims)
    seeds = "-".join(map(str, sorted({own.n for own in record.claims})))
    return f"{', '.join(f'{counts[word]} {said}' for word, said in SHORT.items() if counts[word])}, n = {seeds}"


def judgement(record: ReproductionRecord) -> list[str]:
    """What a record says, in full: a line a figure, a few for a claim."""
    if record.result is None:
        return [line for own in record.claims for line in _claim(own.claim["text"], own.verdict, own.said, own.remarks)]
    lines = [f"measured: {measured(record.result)}"]
    diverged = record.result.diverged
    if diverged:
        lines.append(f"diverged: {', '.join(diverged)}: without a number, and no mean of the others is the recipe's")
    return [*lines, f"verdict: {record.verdict or NONE}"]


def _claim(text: str, verdict: str, said: str, remarks: tuple[str, ...]) -> list[str]:
    return [f"{verdict}: {text}", f"    {said}", *(f"    {remark}" for remark in remarks)]


def _spread(result: Measured) -> Spread:
    parts = (result.mean, result.sd, result.low, result.high)
    return Spread(result.n, *(math.nan if part is None else part for part in parts), method=result.method)


def _symbol(unit: Unit) -> str:
    return "%" if unit.is_percent else f" {unit.symbol}" if unit.symbol else ""
