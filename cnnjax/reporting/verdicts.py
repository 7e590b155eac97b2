"""What a study's finished trials say of a claim: the difference it speaks of, seed by seed, and a verdict.

A seed counts once every arm that the claim speaks of has ended with it, and there is a verdict once every planned seed
counts: one from those that happen to have finished would be of other trainings than were planned. A training that
diverged has ended, without a number. Left out, it would leave the mean to the survivors; so where the metric is a share
it counts as the worst that a share can be, and the verdict says so; of other metrics there is then no verdict.

Where a study varies the fold that it validates on, a fold counts once all its seeds do, and intervals are of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnjax.cards import Claim
from cnnjax.errors import RunError, unknown
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.reporting.intervals import FEWEST, Quantity, Spread, Term, contrast, listed, quantity
from cnnjax.reporting.labels import key
from cnnjax.reporting.statistics import examples_of, laid_out
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import Unit, plural, unit_of

HOLDS, FAILS, SAME, OPEN, NONE = "holds", "fails", "no difference larger than", "not told apart", "no verdict"


@dataclass(frozen=True)
class Verdict:
    """A claim with what was measured of it.

    word: HOLDS, FAILS, SAME (as the claim's margin), OPEN or NONE. values: the difference by seed; spread: of them.
    planned: how many seeds there are to be. settings: of the other axes, over which each seed's difference is a mean.
    diverged: the trainings that did, as "arm, seed"; counted: as which number, None where there is none. missing: those
    that have not ended, and why. unit: how differences are printed. seeds_a_fold: None but where the study varies the
    fold: then `values`, `planned` and n are of folds, each with the mean over so many seeds.
    """

    claim: Claim
    word: str
    values: Mapping[int, float]
    spread: Spread
    planned: int
    settings: int
    unit: Unit
    diverged: tuple[str, ...] = ()
    counted: float | None = None
    missing: tuple[str, ...] = ()
    seeds_a_fold: int | None = None

    @property
    def largest(self) -> float:
        """The largest difference, of either sign, that the interval leaves possible; NaN without one."""
        return max(abs(self.spread.low), abs(self.spread.high))

    @property
    def verdict(self) -> str:
        """`holds`, `no difference larger than 0.30 points`."""
        margin = f"{SAME} {self._size(self.claim.margin)}"
        if self.word == HOLDS and self.claim.expects == "same":
            return f"{HOLDS} ({margin})"
        return margin if self.word == SAME else self.word

    @property
    def measured(self) -> str:
        """`+0.42 points [0.10, 0.74], n = 5 seeds, at most 0.74 points`."""
        if not self.values:
            return f"n = 0 of {plural(self.planned, self._counted)}"
        n = f"{self.spread.n}" if self.spread.n == self.planned else f"{self.spread.n} of {self.planned}"
        mean = f"{'+' if self.spread.mean > 0 else ''}{self._size(self.spread.mean)}"
        interval = f" {self.unit.interval(self.spread)}" if self.spread.has_interval else ""
        each = "" if self.seeds_a_fold is None else f" of {plural(self.seeds_a_fold, 'seed')}"
        most = f", at most {self._size(self.largest)}" if self.spread.has_interval else ""
        return f"{mean}{interval}, n = {n} {self._counted}s{each}{most}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader has to know beside the numbers: which trainings diverged, which have not ended, and which
        repetitions are too few."""
        said = []
        if self.diverged:
            as_what = "has no such number" if self.counted is None else f"counts as {self.unit.number(self.counted)}"
            one = "a training that diverged" if len(self.diverged) > 1 else "it"
            said.append(f"{len(self.diverged)} diverged ({'; '.join(self.diverged)}): {one} {as_what}")
        if self.missing:
            said.append(f"{len(self.missing)} without a result: {'; '.join(self.missing)}")
        few = [plural(n, word) for word, n in self._planned if n < FEWEST]
        if few:
            said.append(f"{listed(few)}: too few for an interval, which takes {FEWEST}")
        return tuple(said)

    @property
    def _counted(self) -> str:
        return "seed" if self.seeds_a_fold is None else "fold"

    @property
    def _planned(self) -> list[tuple[str, int]]:
        return [(self._counted, self.planned), *([] if self.seeds_a_fold is None else [("seed", self.seeds_a_fold)])]

    def _size(self, value: float) -> str:
        symbol = " points" if self.unit.is_percent else f" {self.unit.symbol}" if self.unit.symbol else ""
        return f"{self.unit.number(value)}{symbol}"


def verdict(table: Table, claim: Claim) -> Verdict:
    """The verdict of a study on a claim, whose arms are written as study.json has their values.

    Raises RunError where the study has not the arms, or its trials not the metric, that the claim speaks of.
    """
    sides = [(1, arm) for arm in claim.of] + [(-1, arm) for arm in claim.against]
    settings, chosen = _matched(table, claim, [arm for _, arm in sides])
    numbers = _Numbers(table, claim, sorted({number for numbers in chosen for number in numbers}))
    found = {metric: numbers.of(metric) for metric in _metrics(claim)}
    measured = {name: values for name, (values, _) in found.items()}
    lost = {trial for values in measured.values() for trial in numbers.trials if trial not in values}
    diverged = numbers.diverged(measured)
    missing = [trial for trial in numbers.trials if trial in lost and trial not in diverged]
    repeats = sorted({repeat for _, repeat in numbers.trials})
    arms = {number for numbers in chosen for number in numbers}
    ended = {own for own in repeats if all((arm, own) in values for values in measured.values() for arm in arms)}
    whole = [own for own in repeats if all(other in ended for other in repeats if other[0] == own[0])]

    def difference(metric: str, repeat: Repeat) -> float:
        means = [sum(measured[metric][number, repeat] for number in numbers) / len(numbers) for numbers in chosen]
        return sum(sign * mean for (sign, _), mean in zip(sides, means, strict=True))

    by_metric = {metric: {repeat: difference(metric, repeat) for repeat in whole} for metric in measured}
    values = [sum(_sign(n) * by_metric[name][repeat] for n, name in enumerate(by_metric)) for repeat in whole]
    index = pd.Index(whole if len(table.repeats) > 1 else [seed for (seed,) in whole])
    laid = laid_out(pd.Series(values, index=index, dtype=float))
    terms = [
        Term(sum(own.values()) / max(len(own), 1), numbers.quantity(metric, measured[metric]), len(claim.of))
        for metric, own in by_metric.items()
    ]
    spread = contrast(laid, terms)
    by_first = (laid if laid.ndim == 1 else laid.mean(axis=1)).to_dict()
    unit = numbers.unit(max(map(abs, by_first.values()), default=claim.margin))
    incomplete = len(whole) < len(repeats)
    word = NONE if incomplete or not spread.has_interval else word_of(claim, spread.low, spread.high)
    return Verdict(
        claim,
        word,
        by_first,
        spread,
        planned=len({own[0] for own in repeats}),
        settings=settings,
        unit=unit,
        diverged=tuple(map(numbers.said, diverged)),
        counted=found[claim.metric][1] if diverged else None,
        missing=tuple(f"{numbers.said(trial)}: {numbers.why(trial)}" for trial in missing),
        seeds_a_fold=None if table.replicate == "seed" else len({own[1:] for own in repeats}),
    )


def word_of(claim: Claim, low: float, high: float) -> str:
    """The verdict on a claim whose difference lies between `low` and `high`."""
    inside = -claim.margin < low and high < claim.margin
    if claim.expects == "same":
        return HOLDS if inside else FAILS if low > 0 or high < 0 else OPEN
    above, below = (low > 0, high < 0) if claim.expects == "more" else (high < 0, low > 0)
    return HOLDS if above else FAILS if below else SAME if inside else OPEN


def _sign(position: int) -> int:
    return -1 if position else 1


def _metrics(claim: Claim) -> list[str]:
    return [claim.metric, *([claim.less] if claim.less else [])]


def _matched(table: Table, claim: Claim, sides: Sequence[Mapping[str, Any]]) -> tuple[int, list[list[int]]]:
    """How many settings of the other axes all sides have, and the numbers of the arms of each side in those."""
    fixed = {path for side in sides for path in side}
    found = [_by_setting(table, claim, side, fixed) for side in sides]
    whole = [{setting for setting, own in side.items() if len(own) == max(map(len, side.values()))} for side in found]
    shared = set.intersection(*whole)
    if not shared:
        raise RunError(
            f"{table.out}: claim {claim.text!r} compares arms that have no setting of the other axes in common"
        )
    return len(shared), [
        [number for setting in side if setting in shared for number in side[setting]] for side in found
    ]


def _by_setting(table: Table, claim: Claim, side: Mapping[str, Any], fixed: set[str]) -> dict[str, list[int]]:
    """The arms that have the values of one side, by their values on the axes that no side speaks of."""
    found: dict[str, list[int]] = {}
    for arm in table.arms:
        if all(path in arm.values and key(arm.values[path]) == key(value) for path, value in side.items()):
            others = {path: value for path, value in arm.values.items() if path not in fixed}
            found.setdefault(key(others), []).append(arm.number)
    if not found:
        said = ", ".join(f"{path} = {value}" for path, value in side.items())
        raise RunError(f"{table.out}: claim {claim.text!r} speaks of {said}, which no trained arm has")
    return found


Repeat = tuple[int, ...]
"""A seed; or a fold and a seed."""
Trial = tuple[int, Repeat]
"""The number of an arm, and which of its trials it is."""


class _Numbers:
    """The numbers of the trials of some arms: of their results, or as of the end of an epoch."""

    def __init__(self, table: Table, claim: Claim, arms: Sequence[int]):
        self._table, self._claim = table, claim
        self.trials: dict[Trial, dict[str, Any]] = {
            (row["arm"], tuple(row[column] for column in table.repeats.values())): row
            for row in table.crossed.to_dict("records")
            if row["arm"] in arms
        }
        self._recorded = {trial: self._numbers(row) for trial, row in self.trials.items()}
        self._labels = {arm.number: arm.label for arm in table.arms}

    def of(self, metric: str) -> tuple[dict[Trial, float], float | None]:
        """The metric by trial, those that diverged as the worst that it can be; and that, None where there is none."""
        every = self._recorded.values()
        if every and not any(metric in numbers for numbers in every):
            when = "" if self._claim.epoch is None else f" of epoch {self._claim.epoch}"
            said = unknown(f"metric{when}", metric, sorted({name for numbers in every for name in numbers}))
            raise RunError(f"{self._table.out}: claim {self._claim.text!r}: {said}")
        is_what, worst = self._table.specified.of(metric), None
        if is_what is not None and is_what.unit == "share" and self._claim.less is None:
            worst = 0.0 if is_what.higher_is_better else 1.0
        found = {}
        for trial, row in self.trials.items():
            value = self._recorded[trial].get(metric, worst if row["cause"] == "diverged" else None)
            if value is not None:
                found[trial] = value
        return found, worst

    def diverged(self, measured: Mapping[str, Mapping[Trial, float]]) -> list[Trial]:
        """The trials that diverged before they had all of the metrics."""

        return [
            trial
            for trial, row in self.trials.items()
            if row["cause"] == "diverged" and not all(metric in self._recorded[trial] for metric in measured)
        ]

    def quantity(self, metric: str, values: Mapping[Trial, float]) -> Quantity:
        """What the metric is."""
        examples, over = examples_of(self._table.results, metric), tuple(self._table.repeats)
        return quantity(self._table.specified.of(metric), values=values.values(), examples=examples, over=over)

    def unit(self, largest: float) -> Unit:
        """How differences are printed."""
        return unit_of(self._table.specified.of(self._claim.metric), self._claim.metric, largest=largest)

    def said(self, trial: Trial) -> str:
        """`pool=max, seed 3`."""
        number, repeat = trial
        named = (f"{word} {own}" for word, own in zip(self._table.repeats, repeat, strict=True))
        return f"{self._labels[number]}, {', '.join(named)}"

    def why(self, trial: Trial) -> str:
        """Why a trial has no number."""
        row = self.trials[trial]
        return row["cause"] or (row["status"] if row["status"] != "done" else "no such number")

    def _numbers(self, row: Mapping[str, Any]) -> dict[str, float]:
        if self._claim.epoch is not None:
            found = self._of_epoch(row["id"])
        else:
            found = {metric: row[metric] for metric in self._table.metrics} if row["status"] == "done" else {}
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def _of_epoch(self, trial: str) -> dict[str, float]:
        rows = read_rows(EpochRow.at(self._table.out / "trials" / trial))
        numbers = [row.numbers for row in rows if row.epoch == self._claim.epoch]
        return {name: value for own in numbers for name, value in own.items() if isinstance(value, float)}
