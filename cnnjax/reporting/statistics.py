"""Statistics over seeds: means with their spread, the arm that validation chooses, and what each axis does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cnnjax.errors import RunError
from cnnjax.reporting.directory import Arm, Table
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.labels import Axis, key


@dataclass(frozen=True)
class Spread:
    """A mean over seeds: `n` values, their `mean` and standard deviation `sd` (ddof = 1), and the 95% interval
    [`low`, `high`] of the mean, Student's t with n - 1 degrees of freedom. What n does not allow is NaN."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """The `Spread` of the values that are numbers; its `n` counts them."""
    known = np.asarray(list(values), dtype=float)
    known = known[~np.isnan(known)]
    if known.size < 2:
        return Spread(known.size, float(known[0]) if known.size else math.nan, math.nan, math.nan, math.nan)
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    half = float(half_width(known.size, sd))
    return Spread(known.size, mean, sd, mean - half, mean + half)


def half_width(n: Any, sd: Any, *, level: float = 0.95) -> Any:
    """Half the Student t interval of a mean of `n` values with standard deviation `sd`; element by element."""
    return stats.t.ppf(0.5 + level / 2, n - 1) * sd / np.sqrt(n)


@dataclass(frozen=True)
class Measure:
    """What the arms are compared by: `kind` is accuracy or loss; `choose` and `quote` are metric columns.

    `choose` is the validation column, None where no validation was recorded; `quote` is the test column, or validation,
    or train, where there is no better one. `shown` are the columns of the arms' table.
    """

    kind: str
    choose: str | None
    quote: str
    shown: tuple[str, ...]

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better: of accuracy it is, of loss it is not."""
        return self.kind == "accuracy"


def measure(table: Table) -> Measure:
    """Accuracy where it was recorded, else loss; held-out before train. Raises RunError where there is neither."""
    known = [name for name in table.metrics if table.done[name].notna().any()]
    for splits in (("validation", "test"), ("train",)):
        for kind in ("accuracy", "loss"):
            shown = tuple(name for split in splits if (name := f"{split}_{kind}") in known)
            if shown:
                choose = f"validation_{kind}"
                return Measure(kind, choose if choose in shown else None, shown[-1], shown)
    raise RunError(f"{table.out}: no finished trial recorded an accuracy or a loss, so its arms cannot be compared")


def arms(table: Table) -> Frame:
    """A row per arm, in the axes' order, indexed by the arm's number.

    Columns: the axes by path; `label`; `n` finished and `planned` seeds; `params` and `macs`; for each metric and for
    `train_seconds` and `compile_seconds` the columns `<name>_n`, `_mean`, `_sd`, `_low`, `_high` (95% interval);
    `chosen`.
    """
    groups, names = table.trials.groupby("arm"), [*table.metrics, "train_seconds", "compile_seconds"]
    frame = Frame([dict(arm.values) for arm in table.arms], index=_numbers(table))
    frame["label"] = [arm.label for arm in table.arms]
    frame["n"] = table.done.groupby("arm").size().reindex(frame.index, fill_value=0)
    frame["planned"] = groups.size()
    frame[["params", "macs"]] = groups[["params", "macs"]].first()
    frame = frame.join(_spreads(table, names))
    frame["chosen"] = frame.index == chosen(table)
    return frame


def _numbers(table: Table) -> pd.Index:
    return pd.Index([arm.number for arm in table.arms], name="number")


def _spreads(table: Table, names: Sequence[str]) -> Frame:
    """The `Spread` of each metric, arm by arm, as columns `<name>_n` and so on."""
    groups = table.done.groupby("arm")[list(names)]
    n, mean, sd = groups.count(), groups.mean(), groups.std(ddof=1)
    half = half_width(n, sd)
    parts = {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}
    columns = {f"{name}_{part}": values[name] for name in names for part, values in parts.items()}
    frame = Frame(columns).reindex(_numbers(table))
    counts = [f"{name}_n" for name in names]
    return frame.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, int))


def spread_of(frame: Frame, number: int, name: str) -> Spread:
    """The `Spread` of metric `name` that a table of `arms` holds for the arm `number`."""
    row = frame.loc[number]
    return Spread(int(row[f"{name}_n"]), *(float(row[f"{name}_{part}"]) for part in ("mean", "sd", "low", "high")))


def ranking(table: Table) -> list[int]:
    """The numbers of the arms with validation results, best mean first; ties keep the axes' order."""
    by = measure(table).choose
    if by is None:
        return []
    means = table.done.groupby("arm")[by].mean().dropna()
    return means.sort_values(ascending=not measure(table).higher_is_better, kind="stable").index.tolist()


def chosen(table: Table) -> int | None:
    """The arm with the best mean validation result; None without validation results or with a single arm."""
    best = ranking(table)
    return best[0] if best and len(table.arms) > 1 else None


def foremost(table: Table, *, limit: int) -> tuple[Arm, ...]:
    """The arms in the axes' order; of more than `limit`, the best by validation (without validation, the first)."""
    if len(table.arms) <= limit:
        return table.arms
    kept = set((ranking(table) or [arm.number for arm in table.arms])[:limit])
    return tuple(arm for arm in table.arms if arm.number in kept)


def difference(table: Table, left: int, right: int, *, metric: str) -> Spread:
    """The mean of `left - right` between two arms, paired over the seeds that both finished."""
    values = table.done.pivot(index="seed", columns="arm", values=metric)
    return spread(values[left] - values[right])


def effects(table: Table, *, metric: str) -> Frame:
    """What each value of each axis does to `metric`, at matched settings of the other axes.

    Values are compared like for like: over the settings of the other axes (`settings` of them) and the seeds (`n` of
    them) with which every value of the axis has finished; of an incomplete study, the largest such block of settings
    and seeds. For each seed the metric is averaged over the settings; `mean`, `sd`, `low` and `high` are over seeds.
    The `difference_*` columns are over the per-seed differences to the `reference` value: the base experiment's, or
    the axis's first. A row per axis (path) and value (position in the axis); axes without a matched setting have none.
    """
    rows = [row for axis in table.axes for row in _axis_effects(table, axis, metric)]
    names = ("axis", "value", "text", "settings", "n", "mean", "sd", "low", "high", "reference")
    return Frame(rows, columns=[*names, *(f"difference_{part}" for part in ("n", "mean", "sd", "low", "high"))])


def _axis_effects(table: Table, axis: Axis, metric: str) -> Iterable[dict[str, Any]]:
    settings, means = matched(table, axis, metric=metric)
    if means.empty or len(means.columns) < 2:
        return
    base = [axis.position(axis.base)] if key(axis.base) in map(key, axis.values) else []
    reference = next(value for value in [*base, *means.columns] if value in means.columns)
    for value in means.columns:
        change = asdict(spread(means[value] - means[reference])) if value != reference else {}
        yield {
            "axis": axis.path,
            "value": value,
            "text": axis.texts[int(value)],
            "settings": settings,
            **asdict(spread(means[value])),
            "reference": axis.texts[int(reference)],
            **{f"difference_{part}": number for part, number in change.items()},
        }


def matched(table: Table, axis: Axis, *, metric: str) -> tuple[int, Frame]:
    """The number of matched settings of the other axes, and the mean of `metric` over them: a row per seed, a column
    per value of `axis` (its position)."""
    places = {arm.number: (others(arm.values, axis), axis.position(arm.values[axis.path])) for arm in table.arms}
    done = table.done.dropna(subset=metric)
    results = Frame(
        {
            "setting": [places[number][0] for number in done["arm"]],
            "seed": done["seed"],
            "value": [places[number][1] for number in done["arm"]],
            "result": done[metric],
        }
    )
    wide = results.pivot(index=["setting", "seed"], columns="value", values="result")
    settings, seeds = _block(wide.notna().all(axis=1).unstack("seed", fill_value=False))
    inside = [setting in settings and seed in seeds for setting, seed in wide.index]
    return len(settings), wide[inside].groupby("seed").mean()


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


def others(values: Mapping[str, Any], axis: Axis) -> str:
    """A text that two arms share when they differ in nothing but `axis`."""
    return key({path: value for path, value in values.items() if path != axis.path})
