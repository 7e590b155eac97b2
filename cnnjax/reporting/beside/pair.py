"""Two studies beside each other: which of their arms are the same, and whether their results may be paired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cnnjax.errors import ConfigError, RunError
from cnnjax.records.specification import Specification
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import Judged, Quantity, Spread, judged, paired, unpaired
from cnnjax.reporting.labels import key, lookup
from cnnjax.reporting.notes import repeats
from cnnjax.reporting.statistics import arms, laid_out, measure, part_of, quantity_of, spread_of
from cnnjax.reporting.study_table import Arm, Table, collect
from cnnjax.reporting.units import Unit, unit_of

NAMES = ("A", "B")
"""What the two are called."""
PARTS = ("test", "validation", "train")


@dataclass(frozen=True)
class Matched:
    """An arm that both studies have: `own`, what it is in A and in B."""

    own: tuple[Arm, Arm]

    @property
    def label(self) -> str:
        """As A says it, or as B does where A varies nothing."""
        return next((arm.label for arm in self.own if arm.texts), "base")


@dataclass(frozen=True)
class Gap:
    """What a matched arm's result is in B less that in A. paired: whether seeds pair it; test: that it is 0."""

    difference: Spread
    test: Judged
    paired: bool


@dataclass(frozen=True)
class Pair:
    """Two studies, A and B.

    tables: what the run directories of each say. matched: the arms that both have, in A's order; alone: those that only
    one has. metric: the column that they are compared by; compared: what it is.
    """

    tables: tuple[Table, Table]
    matched: tuple[Matched, ...]
    alone: tuple[tuple[Arm, ...], tuple[Arm, ...]]
    metric: str
    compared: Specification

    @cached_property
    def unit(self) -> Unit:
        """How its numbers are printed, alike for both."""
        return unit_of(self.compared, self.metric, largest=max(t.done[self.metric].abs().max() for t in self.tables))

    @cached_property
    def is_counted(self) -> bool:
        """Whether the metric is a share of counted examples in both."""
        return all(quantity_of(table, self.metric).is_counted for table in self.tables)

    @property
    def wider(self) -> str:
        """What tells the interval of a test from that over seeds, with a blank after it; empty where they are one."""
        return "wider " if self.is_counted else ""

    @cached_property
    def over(self) -> str:
        """What the first of two intervals is over: "seeds", "folds and seeds"."""
        return repeats(self.tables[0])

    def intervals(self, values: Spread) -> tuple[str, ...]:
        """The interval over seeds, and, where examples are counted, that over these too."""
        both = (self.unit.interval(values),) if self.is_counted else ()
        return (self.unit.interval(values.over_seeds), *both)

    @cached_property
    def same_results(self) -> bool:
        """Whether the two folders hold the same results, byte for byte."""
        return self.tables[0].results_digest == self.tables[1].results_digest

    @cached_property
    def unpaired_for(self) -> str:
        """Why no difference between the studies is paired by seed, whatever the data; empty where it may be."""
        one, other = self.tables
        if one.replicate != other.replicate:
            return f"n counts {one.replicate}s in A and {other.replicate}s in B"
        if any(set(one.trials[name]) != set(other.trials[name]) for name in one.repeats.values()):
            words = " and ".join(f"{word}s" for word in one.repeats)
            return f"the two were planned with different {words}"
        return ""

    def spreads(self, arm: Matched) -> tuple[Spread, Spread]:
        """The arm's result in A and in B, as each study's own report has it."""
        of_both = zip(self.tables, arm.own, strict=True)
        one, other = (spread_of(arms(table), own.number, self.metric) for table, own in of_both)
        return one, other

    def same_examples(self, arm: Matched) -> bool:
        """Whether both measured the arm on the same examples, as far as is recorded."""
        part = part_of(self.metric)
        done = [self._done(place, arm) for place in (0, 1)]
        prints = [set(of["data_fingerprint"]) for of in done]
        sizes = [{entry.get(part) for entry in of["examples"]} for of in done]
        known = all(len(of) == 1 and None not in of for of in prints)
        return known and prints[0] == prints[1] and sizes[0] == sizes[1]

    def gap(self, arm: Matched) -> Gap:
        """B less A: paired over the seeds that both finished where data and seeds are the same."""
        one, other = (self._values(place, arm) for place in (0, 1))
        kinds = self._quantity(0, arm), self._quantity(1, arm)
        same = self.same_examples(arm)
        if same and not self.unpaired_for:
            differences = laid_out(other - one)
            return Gap(paired(differences, kinds[0]), judged(differences, kinds[0]), paired=True)
        difference, test = unpaired(laid_out(one), laid_out(other), kinds, same_examples=same)
        return Gap(difference, test, paired=False)

    def _done(self, place: int, arm: Matched) -> Frame:
        results = self.tables[place].results
        return results[results["arm"] == arm.own[place].number].dropna(subset=self.metric)

    def _quantity(self, place: int, arm: Matched) -> Quantity:
        return quantity_of(self.tables[place], self.metric, self._done(place, arm))

    def _values(self, place: int, arm: Matched) -> Any:
        table = self.tables[place]
        cells = table.cells[table.cells["arm"] == arm.own[place].number]
        return cells.set_index(list(table.repeats.values()))[self.metric]


def pair(left: Path | str, right: Path | str) -> Pair:
    """Read two studies, or runs. Raises ConfigError where both are one folder, and RunError where one is neither study
    nor run, where no arm is in both, and where they are not compared by the same metric."""
    folders = Path(left), Path(right)
    if folders[0].resolve() == folders[1].resolve():
        raise ConfigError(f"{left} and {right} are the same folder: give two studies to set beside each other")
    tables = collect(folders[0]), collect(folders[1])
    metric, compared = _metric(tables)
    matched, alone = _matched(tables)
    if not matched:
        shown = "; ".join(f"{name} has {_few(table.arms)}" for name, table in zip(NAMES, tables, strict=True))
        raise RunError(f"{left} and {right} have no arm in common: {shown}")
    return Pair(tables, matched, alone, metric, compared)


def _few(arms: Iterable[Arm], most: int = 3) -> str:
    labels = [arm.label for arm in arms]
    return "; ".join(labels[:most]) + (f"; and {len(labels) - most} more" if len(labels) > most else "")


def _metric(tables: tuple[Table, Table]) -> tuple[str, Specification]:
    """The column that arms of both are compared by, of the part that is best to quote, and what it is."""
    found = [measure(table) for table in tables]
    for table, by in zip(tables, found, strict=True):
        if by.compared is None:
            raise RunError(f"{table.out}: its own arms are not compared with each other by one metric (see its report)")
    one, other = (by.compared for by in found)
    assert one is not None
    assert other is not None
    if (one.name, one.unit, one.higher_is_better) != (other.name, other.unit, other.higher_is_better):
        said = " and ".join(
            f"{table.out} by {each.words}{f' in {each.unit}' if each.unit else ''}"
            for table, each in zip(tables, (one, other), strict=True)
        )
        raise RunError(f"the two are compared by different metrics: {said}")
    measured = [{name for name in table.metrics if table.done[name].notna().any()} for table in tables]
    for name in (f"{part}_{one.name}" for part in PARTS):
        if all(name in of for of in measured):
            return name, one
    raise RunError(f"{tables[0].out} and {tables[1].out}: no part of the data has {one.words} in both")


def _matched(tables: tuple[Table, Table]) -> tuple[tuple[Matched, ...], tuple[tuple[Arm, ...], tuple[Arm, ...]]]:
    """Arms are the same where they have the same value of every axis of either study."""
    own = [dict.fromkeys(path for arm in table.arms for path in arm.values) for table in tables]
    paths = [*own[0], *(path for path in own[1] if path not in own[0])]
    common = [path for path in paths if all(path in of for of in own)]
    places = [{_place(table, arm, paths, common): arm for arm in table.arms} for table in tables]
    matched = tuple(Matched((arm, places[1][place])) for place, arm in places[0].items() if place in places[1])
    one, other = (tuple(arm for place, arm in places[here].items() if place not in places[1 - here]) for here in (0, 1))
    return matched, (one, other)


def _place(table: Table, arm: Arm, paths: Iterable[str], common: Iterable[str]) -> str:
    """Text that the same arm has in both studies. The value of an axis that the other study does not vary is that of
    the trial's config in both, which is whole where an arm's is short."""
    config, shared = table.configs.get(arm.number), set(common)

    def value(path: str) -> Any:
        if path in shared or (config is None and path in arm.values):
            return arm.values[path]
        return lookup(table.base if config is None else config, path)

    return key({path: value(path) for path in paths})
