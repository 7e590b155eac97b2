"""Statistics over seeds: means with their spread, the arm that validation chooses, and what each axis does.

Where a study varies the fold that it validates on, "seeds" below are folds, each with the mean over its seeds, in what
is counted, ± and ranked (`Table.results`), and intervals are of folds and seeds (`Table.cells`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from cnnjax.errors import RunError
from cnnjax.records.specification import BEFORE, Specification
from cnnjax.reporting.asked import once
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import PARTS, Judged, Quantity, Spread, by_seeds, judged, paired, quantity, spread
from cnnjax.reporting.labels import Axis, key
from cnnjax.reporting.study_table import SPENT, Arm, Table
from cnnjax.statistics.families import adjusted


@dataclass(frozen=True)
class Measure:
    """What the arms are compared by: the metric `compared`, in the columns `choose` and `quote`.

    `choose` is the validation column, None where no validation was recorded; `quote` is the test column, or validation,
    or train, where there is no better one. `shown` are the columns of the arms' table: these two, and what a method of
    training measured beside them. Where trials are measured by different metrics, `compared`, `choose` and `quote` are
    None, and all of those metrics are shown.
    """

    compared: Specification | None
    choose: str | None
    quote: str | None
    shown: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """Whether what is shown was measured on examples that were not trained on."""
        return part_of(self.shown[0]) in HELD_OUT


HELD_OUT = ("validation", "test")


def part_of(metric: str) -> str:
    """The part of the data that a column is of."""
    return metric.partition("_")[0]


@once
def measure(table: Table) -> Measure:
    """The metric that the trials say, where it was measured, else the next; held-out before train.

    Raises RunError where none of them was measured.
    """
    known = [name for name in table.metrics if table.done[name].notna().any()]
    order = table.specified.order
    for parts in (HELD_OUT, ("train",)):
        for metric in order:
            exact = [name for part in parts if (name := f"{part}_{metric}") in known]
            if exact:
                choose, compared = f"validation_{metric}", table.specified.named(metric)
                beside = [name for name in known if part_of(name) in parts and table.specified.of(name) == compared]
                shown = tuple(dict.fromkeys([*exact, *beside]))
                return Measure(compared, choose if choose in exact else None, exact[-1], shown)
    shown = _apart(table, known)
    if not shown:
        raise RunError(f"{table.out}: no finished trial recorded a metric that its arms can be compared by")
    return Measure(None, None, None, shown)


def _apart(table: Table, known: Sequence[str]) -> tuple[str, ...]:
    """The columns of the metrics that the trials say, where arms cannot be compared; held-out ones if there are any."""
    said = [words for words, _ in table.specified.said] or [each.words for each in BEFORE if each.is_loss]
    found = [(name, of) for name in known if (of := table.specified.of(name)) is not None and of.words in said]
    held_out = [name for name, _ in found if part_of(name) in HELD_OUT]
    return tuple(held_out or [name for name, _ in found])


@once
def arms(table: Table) -> Frame:
    """A row per arm, in the axes' order, indexed by the arm's number.

    Columns: the axes by path; `label`; `n` finished and `planned` seeds, `failed` trials; `params`, `macs` and
    `memory`; for each metric and for each of `Table.spent` the columns `<name>_n`, `_mean`, `_sd`, `_low`, `_high`
    (95% interval) and `_method` (of the interval), `_seeds_low`, `_seeds_high` and `_seeds_method` (the same over seeds
    alone); `chosen`.
    """
    groups, names = table.trials.groupby("arm"), [*table.metrics, *table.spent]
    frame = Frame([dict(arm.values) for arm in table.arms], index=_numbers(table))
    frame["label"] = [arm.label for arm in table.arms]
    frame["n"] = table.results.groupby("arm").size().reindex(frame.index, fill_value=0)
    frame["planned"] = groups["replicate"].nunique()
    frame["failed"] = groups["status"].agg(lambda states: int((states == "failed").sum()))
    frame[["params", "macs", "memory"]] = groups[["params", "macs", "memory"]].first()
    frame = frame.join(_spreads(table, names))
    frame["chosen"] = frame.index == chosen(table)
    return frame


def _numbers(table: Table) -> pd.Index:
    return pd.Index([arm.number for arm in table.arms], name="number")


def _spreads(table: Table, names: Sequence[str]) -> Frame:
    """The `Spread` of each metric, arm by arm, as columns `<name>_n` and so on."""
    done, cells = table.results, table.cells
    groups, cells_of = dict(iter(done.groupby("arm"))), dict(iter(cells.groupby("arm")))
    rows = [
        _arm_spreads(table, groups.get(arm.number, done.head(0)), cells_of.get(arm.number, cells.head(0)), names)
        for arm in table.arms
    ]
    columns = {f"{name}_{part}": [getattr(row[name], part) for row in rows] for name in names for part in PARTS}
    return Frame(columns, index=_numbers(table))


def _arm_spreads(table: Table, done: Frame, cells: Frame, names: Sequence[str]) -> dict[str, Spread]:
    """The `Spread` of each metric over one arm's finished trials. Trials that were trained together share the seconds
    of one training: their seconds are one measurement, without spread."""
    together, by = bool((done["packed"] > 1).any()), cells.set_index(list(table.repeats.values()))
    spreads = {name: spread(laid_out(by[name]), quantity_of(table, name, done)) for name in names}
    alone = {name: Spread(own.n, own.mean, math.nan, math.nan, math.nan) for name, own in spreads.items()}
    return spreads | {name: alone[name] for name in SPENT if together and name in alone}


def laid_out(values: pd.Series) -> pd.Series | pd.DataFrame:
    """The values by seed that are numbers; of values by fold and seed a row a fold and a column a seed, without the
    folds that miss a seed which others have. As `intervals.spread` takes them."""
    known = values.dropna()
    return known.unstack().dropna() if known.index.nlevels == 2 else known


def examples_of(done: Frame, metric: str) -> int | None:
    """How many examples `metric` was measured on in the finished trials `done`: the fewest of them; None where one of
    them does not say."""
    part = part_of(metric)
    sizes = [sizes.get(part) for sizes in done["examples"]]
    return min(sizes) if sizes and all(sizes) else None


def spread_of(frame: Frame, number: int, name: str) -> Spread:
    """The `Spread` of metric `name` that a table of `arms` holds for the arm `number`."""
    return _spread_in(frame.loc[number], f"{name}_")


def _spread_in(row: Mapping[str, Any], prefix: str) -> Spread:
    kept: dict[str, Any] = {part: row[f"{prefix}{part}"] for part in PARTS}
    for part in PARTS:
        if part not in ("method", "seeds_method"):
            kept[part] = int(kept[part]) if part == "n" else float(kept[part])
    return Spread(**kept)


@once
def complete(table: Table) -> set[int]:
    """The numbers of the arms with a result of every seed, of as many as any arm has: only these are ranked.

    Where seeds diverged, the mean of those that survived is of the lucky ones.
    """
    sizes, by = table.trials.groupby("arm")["replicate"].nunique(), measure(table)
    finished = table.results.groupby("arm")[by.choose or by.quote or "id"].count()
    # An adaptive study may give arms different numbers of seeds, and says so.
    planned = sizes if table.adaptive is not None else dict.fromkeys(finished.index, int(sizes.max()))
    return {int(number) for number, n in finished.items() if n == planned[number]}


def arm_means(table: Table, *, metric: str) -> dict[int, float]:
    """The mean of each arm, by its number, of those whose seeds have all finished: one number an arm, where arms are a
    sample, for its seeds are no more arms."""
    known = table.results[table.results["arm"].isin(complete(table))].dropna(subset=metric)
    return {int(number): float(mean) for number, mean in known.groupby("arm")[metric].mean().items()}


def same_examples(table: Table) -> bool:
    """Whether all finished trials were measured on the same examples, as far as is recorded: one set of data, and as
    many of them in every part that is shown."""
    done, parts = table.results, list(map(part_of, measure(table).shown))
    sizes = {tuple(sizes.get(part) for part in parts) for sizes in done["examples"]}
    return len(sizes) == 1 and done["data_fingerprint"].map(str).nunique() == 1


@once
def ranking(table: Table) -> list[int]:
    """The numbers of the complete arms with validation results, best mean first; ties keep the axes' order."""
    whole = complete(table)
    return [number for number in _by_validation(table) if number in whole]


def _by_validation(table: Table) -> list[int]:
    by = measure(table)
    if by.choose is None or by.compared is None:
        return []
    means = table.results.groupby("arm")[by.choose].mean().dropna()
    # Means of the same numbers in another order differ in their last bits: they tie.
    means = means.map(lambda mean: float(f"{mean:.12g}"))
    return means.sort_values(ascending=not by.compared.higher_is_better, kind="stable").index.tolist()


def chosen(table: Table) -> int | None:
    """The complete arm with the best mean validation result; None without one, or with a single arm."""
    best = ranking(table)
    return best[0] if best and len(table.arms) > 1 else None


def reference(table: Table) -> int | None:
    """The arm of the base experiment, where its trials have all finished; else the one that validation chooses."""
    base = {axis.path: key(axis.base) for axis in table.axes}
    of_base = [arm.number for arm in table.arms if all(key(arm.values[path]) == own for path, own in base.items())]
    return of_base[0] if of_base and of_base[0] in complete(table) else chosen(table)


def foremost(table: Table, *, limit: int) -> tuple[Arm, ...]:
    """The arms in the axes' order; of more than `limit`, the best by validation (without validation, the first)."""
    if len(table.arms) <= limit:
        return table.arms
    order = dict.fromkeys([*ranking(table), *_by_validation(table), *(arm.number for arm in table.arms)])
    kept = set(list(order)[:limit])
    return tuple(arm for arm in table.arms if arm.number in kept)


def difference(table: Table, left: int, right: int, *, metric: str) -> Spread:
    """The mean of `left - right` between two arms, paired over the seeds that both finished."""
    return paired(*differences(table, left, right, metric=metric))


def differences(table: Table, left: int, right: int, *, metric: str) -> tuple[ArrayLike, Quantity]:
    """`left - right` between two arms, paired over the seeds that both finished, as `paired` takes them."""
    done, values = table.results[table.results["arm"].isin([left, right])], side_by_side(table, metric=metric)
    return laid_out(values[left] - values[right]), quantity_of(table, metric, done)


@once
def side_by_side(table: Table, *, metric: str) -> Frame:
    """The results of `metric`: a row per seed (or fold and seed), a column per arm (its number) that has any; NaN where
    a result is missing."""
    return table.cells.pivot(index=list(table.repeats.values()), columns="arm", values=metric)


def quantity_of(table: Table, metric: str, done: Frame | None = None) -> Quantity:
    """What `metric` is a mean of in the finished trials, or in those of them that are in `done`."""
    done = table.results if done is None else done
    examples = examples_of(done, metric)
    return quantity(
        table.specified.of(metric), values=done[metric].tolist(), examples=examples, over=tuple(table.repeats)
    )


@once
def effects(table: Table, *, metric: str) -> Frame:
    """What each value of each axis does to `metric`, at matched settings of the other axes.

    Values are compared like for like: over the settings of the other axes (`settings` of them) and the seeds (`n` of
    them) with which every value of the axis has finished; of an incomplete study, the largest such block of settings
    and seeds. For each seed the metric is averaged over the settings; `mean`, `sd`, `low`, `high` and `method` are over
    seeds. The `difference_*` columns are over the per-seed differences to the `reference` value: the base experiment's,
    or the axis's first; `p` and `within` are theirs (`intervals.judged`), and `holm` is p corrected after Holm (1979)
    for all of them; `p_of_seeds` and `holm_of_seeds` are those of Student's paired t test over seeds alone. A row per
    axis (path) and value (position in the axis); axes without a matched setting have none.
    """
    rows = [row for axis in table.axes for row in _axis_effects(table, axis, metric)]
    names, tests = ("axis", "value", "text", "settings", *PARTS, "reference"), ("p", "within", "p_of_seeds")
    found = Frame(rows, columns=[*names, *(f"difference_{part}" for part in PARTS), *tests])
    corrected = {"holm": "p", "holm_of_seeds": "p_of_seeds"}
    return found.assign(**{name: adjusted(found[of].to_numpy(float)) for name, of in corrected.items()})


def effect_spreads(row: Mapping[str, Any]) -> tuple[Spread, Spread | None]:
    """What a row of `effects` holds: the `Spread` of a value and of its difference (None: it is the reference)."""
    return _spread_in(row, ""), None if row["text"] == row["reference"] else _spread_in(row, "difference_")


def _axis_effects(table: Table, axis: Axis, metric: str) -> Iterable[dict[str, Any]]:
    settings, means = matched(table, axis, metric=metric)
    if means.empty or len(means.columns) < 2:
        return
    base = [axis.position(axis.base)] if key(axis.base) in map(key, axis.values) else []
    reference = next(value for value in [*base, *means.columns] if value in means.columns)
    of = quantity_of(table, metric)
    for value in means.columns:
        differences = laid_out(means[value] - means[reference])
        change = asdict(paired(differences, of)) if value != reference else {}
        test = judged(differences, of) if value != reference else Judged(math.nan, math.nan)
        yield {
            "axis": axis.path,
            "value": value,
            "text": axis.texts[int(value)],
            "settings": settings,
            **asdict(spread(laid_out(means[value]), of)),
            "reference": axis.texts[int(reference)],
            **{f"difference_{part}": number for part, number in change.items()},
            "p": test.p,
            "within": test.within,
            "p_of_seeds": by_seeds(differences, of).p if value != reference else math.nan,
        }


def matched(table: Table, *axes: Axis, metric: str) -> tuple[int, Frame]:
    """The number of matched settings of the other axes, and the mean of `metric` over them: a row per seed (or fold and
    seed), a column per value of the axis (its position), or per combination of values of `axes` that has results (its
    place among all of them, the last axis fastest)."""
    places = {arm.number: (others(arm.values, *axes), _place(arm.values, axes)) for arm in table.arms}
    done, repeats = table.cells.dropna(subset=metric), list(table.repeats.values())
    results = done[repeats].assign(
        setting=[places[number][0] for number in done["arm"]],
        value=[places[number][1] for number in done["arm"]],
        result=done[metric],
    )
    wide = results.pivot(index=["setting", *repeats], columns="value", values="result")
    settings, seeds = _block(wide.notna().all(axis=1).unstack(repeats, fill_value=False))
    setting, seed = wide.index.get_level_values("setting"), wide.index.droplevel("setting")
    inside = setting.isin(list(settings)) & seed.isin(list(seeds))
    return len(settings), wide[inside].groupby(level=repeats).mean()


def _place(values: Mapping[str, Any], axes: Sequence[Axis]) -> int:
    place = 0
    for axis in axes:
        place = place * len(axis.values) + axis.position(values[axis.path])
    return place


def _block(complete: Frame) -> tuple[set[Any], set[Any]]:
    """The largest block of rows and columns that is true throughout, of at least two columns where there is one.

    Columns are taken in the order of how many rows they have, which is exact where trials finish in some order.
    """
    order = complete.sum().sort_values(ascending=False, kind="stable").index
    blocks = [(set(complete.index[complete[order[:k]].all(axis=1)]), set(order[:k])) for k in range(1, len(order) + 1)]
    blocks = [(rows, columns) for rows, columns in blocks if rows]
    return max(blocks, key=_block_size, default=(set(), set()))


def _block_size(block: tuple[set[Any], set[Any]]) -> tuple[bool, int, int]:
    rows, columns = block
    return len(columns) > 1, len(rows) * len(columns), len(columns)


def others(values: Mapping[str, Any], *axes: Axis) -> str:
    """A text that two arms share when they differ in nothing but `axes`."""
    varied = {axis.path for axis in axes}
    return key({path: value for path, value in values.items() if path not in varied})
