"""What the chosen arm's result would be without the luck of having been chosen."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.records.specification import Specification
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import FEWEST, Spread
from cnnjax.reporting.statistics import measure, quantity_of, ranking, side_by_side
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import Unit, unit
from cnnjax.statistics.selection import Selection, selected

NAME, TITLE = "selection", "Corrected for the choice"


def selection_panel(table: Table) -> Finding | None:
    """The chosen arm's result as quoted and corrected, of validation and of what is quoted.

    None where nothing is chosen, of one ranked arm, and of fewer than three seeds. Where the correction does not hold
    for how the study was made, that is said instead.
    """
    by, ranked = measure(table), ranking(table)
    if by.compared is None or by.choose is None or by.quote is None or len(ranked) < 2:
        return None
    withheld = _withheld(table, [by.choose, by.quote])
    if withheld:
        return Finding(NAME, TITLE, [paragraph(f"The chosen arm's result is not corrected for the choice: {withheld}")])
    if len(_results(table, by.choose)) < FEWEST:
        return None
    found = {name: corrected(table, name, by.choose, by.compared) for name in dict.fromkeys([by.choose, by.quote])}
    data = {
        "arm": ranked[0],
        "arms": len(ranked),
        "metrics": {name: _json(table, name, own) for name, own in found.items()},
    }
    answers = _answers(table, by.quote, found[by.quote], by.compared)
    return Finding(NAME, TITLE, [_grid(table, found), paragraph(_note(table))], answers=answers, data=data)


def corrected(table: Table, quote: str, choose: str, compared: Specification) -> Selection:
    """The best of the ranked arms by `choose`, and its `quote`. The arms' order is the ranking, so that of equal ones
    the same is chosen as everywhere."""
    validation, quoted = (_results(table, name).to_numpy(float).T for name in (choose, quote))
    return selected(validation, quoted, higher_is_better=compared.higher_is_better)


def _results(table: Table, metric: str) -> Frame:
    """The results of the ranked arms, the best first: a row per seed that any of them has."""
    return side_by_side(table, metric=metric)[ranking(table)].dropna(how="all")


def _withheld(table: Table, metrics: list[str]) -> str:
    """Why there is no correction; empty where there is one."""
    if table.replicate != "seed":
        return "it resamples seeds, and here folds and seeds vary."
    if table.adaptive is not None:
        return "results decided what was trained, and drawing the seeds anew does not repeat that."
    values = pd.concat([_results(table, name) for name in metrics], axis=1)
    return "the ranked arms do not all have results of the same seeds." if values.isna().any(axis=None) else ""


def _spread(table: Table, metric: str, own: Selection) -> Spread:
    """The corrected mean and its interval, cut where the metric ends."""
    of = quantity_of(table, metric)
    held = own.corrected.within(of.low, of.high)
    return Spread(own.n, held.value, math.nan, held.low, held.high, held.method)


def _grid(table: Table, found: dict[str, Selection]) -> Grid:
    rows = []
    for metric, own in found.items():
        here, better = unit(table, metric), _spread(table, metric, own)
        rows.append(
            (
                here.label,
                str(ranking(table)[own.chosen]),
                str(own.arms),
                str(own.n),
                here.number(own.quoted),
                here.number(better.mean),
                here.interval(better),
                _optimism(here, own),
                _share(own.chosen_again),
            )
        )
    heads = (
        "chosen arm",
        "of arms",
        "n",
        "quoted",
        "corrected",
        "95% interval",
        "quoted less corrected",
        "chosen again",
    )
    return Grid("", (Column("metric"), *(Column(head, "number") for head in heads)), rows)


def _optimism(here: Unit, own: Selection) -> str:
    """By how much the quoted figure is above the corrected one, as both are printed."""
    text = f"{own.optimism * here.factor:+.{here.decimals}f}"
    return text if float(text) else text[1:]


def _share(value: float) -> str:
    """`61%`; what is not all is not rounded to it."""
    return f"{value:.0%}" if value == 1 or value < 0.995 else f"{math.floor(1000 * value) / 1000:.1%}"


def _json(table: Table, metric: str, own: Selection) -> dict[str, Any]:
    spread = _spread(table, metric, own).to_json()
    numbers = {"quoted": own.quoted, "optimism": own.optimism, "chosen_again": own.chosen_again}
    return {"n": own.n, **numbers, "corrected": {name: spread[name] for name in ("mean", "low", "high", "method")}}


def _answers(table: Table, metric: str, own: Selection, compared: Specification) -> tuple[str, ...]:
    """What the figure is without the luck, where that is seen in the digits that are printed."""
    here, better = unit(table, metric), _spread(table, metric, own)
    flatters = own.optimism > 0 if compared.higher_is_better else own.optimism < 0
    quoted, shown = here.number(own.quoted), here.number(better.mean)
    if not flatters or quoted == shown:
        return ()
    symbol = "%" if here.is_percent else f" {here.symbol}".rstrip()
    interval = f" {here.interval(better)}" if better.has_interval else ""
    return (
        f"To be the best of {own.arms} arms takes luck too: the {here.name} of arm {ranking(table)[own.chosen]} is "
        f"{quoted}{symbol} as quoted and {shown}{symbol}{interval} corrected for the choice (n={own.n} seeds; "
        f"{_share(own.chosen_again)} of resamples choose it again).",
    )


def _note(table: Table) -> str:
    held_out = measure(table).quote != measure(table).choose
    quoted = "its result on the quoted part" if held_out else "its result"
    return (
        "The arm with the best mean is in part the luckiest. Corrected: seeds are drawn anew, those of all arms "
        f"together; the arm that the drawn seeds choose by validation is taken, and {quoted} with the seeds that were "
        "not drawn is counted, so that no seed is quoted for a choice that it had a part in (leave-one-out bootstrap, "
        "Tsamardinos et al. 2018). The drawn seeds are fewer and choose a little worse: it errs to the cautious side. "
        "The interval is of the chosen arm's true mean: Student's t around the quoted one, with the standard deviation "
        "pooled over arms, and wide enough for whichever arm is chosen (Bonferroni); it covers the choice of seeds, on "
        "these examples. Chosen again: the share of draws in which the same arm is chosen. Only ranked arms take part."
    )
