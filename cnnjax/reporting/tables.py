"""The tables of a report: arms, effects of the axes, what was pruned and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cnnjax.documents.counts import NONE, count
from cnnjax.documents.document import Column, Grid
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.notes import repeats
from cnnjax.reporting.statistics import (
    Measure,
    arms,
    chosen,
    effect_spreads,
    effects,
    measure,
    quantity_of,
    spread_of,
)
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.time_spent import shown_seconds
from cnnjax.reporting.units import p_value, spent, unit


def over(table: Table, *, examples: bool = False) -> str:
    """The heading of 95% intervals over seeds (folds and seeds), or over these and examples."""
    words = repeats(table)
    return f"95% interval over {words}{' and examples' if examples else ''}"


def interval_heads(table: Table, metric: str) -> tuple[str, ...]:
    """The headings of the intervals of a metric: over seeds, and, where examples are counted, over these too."""
    return (over(table), *(("also over examples",) if quantity_of(table, metric).is_counted else ()))


def p_head(table: Table, metric: str) -> str:
    """The heading of the p of a difference that decides: where examples are counted, that of the wider interval."""
    return "p over examples too" if quantity_of(table, metric).is_counted else "p"


def interval_cells(table: Table, metric: str, values: Spread) -> tuple[str, ...]:
    """The intervals below `interval_heads`."""
    here = unit(table, metric)
    both = (here.interval(values),) if quantity_of(table, metric).is_counted else ()
    return (here.interval(values.over_seeds), *both)


def difference_heads(table: Table, metric: str) -> tuple[str, ...]:
    """The headings of the intervals and tests of differences of a metric."""
    (first, *both), own = interval_heads(table, metric), p_head(table, metric)
    return (first, *((f"p over {repeats(table)}, corrected", *both) if both else ()), own, f"{own}, corrected")


def difference_cells(table: Table, metric: str, values: Spread, *, p: tuple[float, float, float]) -> tuple[str, ...]:
    """What stands below `difference_heads`. p: the corrected one over seeds alone, the one of all that is known to make
    the difference uncertain, and that corrected."""
    (first, *both), (alone, own, corrected) = interval_cells(table, metric, values), map(p_value, p)
    return (first, *((alone, *both) if both else ()), own, corrected)


def finished(table: Table, number: int) -> str:
    """The seeds or folds of an arm: `3`; `2 of 3` where one is missing, `1 of 3 (2 diverged)` where two failed."""
    own = table.trials[table.trials["arm"] == number]
    done, planned = int((table.results["arm"] == number).sum()), own["replicate"].nunique()
    failed = own[own["status"] == "failed"]
    causes = Counter(cause or "failed" for cause in failed["cause"])
    lost = ", ".join(f"{times} {cause}" for cause, times in causes.items())
    return str(done) if done == planned else f"{done} of {planned}{f' ({lost})' if lost else ''}"


def arms_grid(table: Table) -> Grid:
    """The arms: axes, n, mean ± sd and interval over seeds of each held-out metric, of the one to quote over examples
    too; parameters, MACs and seconds."""
    frame, by = arms(table), measure(table)
    heads = [head for name in by.shown for head in _heads(table, by, name)]
    names = [axis.name for axis in table.axes] or ["arm"]
    rows = []
    for arm in table.arms:
        row = frame.loc[arm.number]
        results = [
            cell for name in by.shown for cell in _cells(table, by, spread_of(frame, arm.number, name), name, row["n"])
        ]
        costs = [count(row["params"]), count(row["macs"]), spent(spread_of(frame, arm.number, shown_seconds(table)))]
        place = [str(arm.number), *(arm.texts.values() or ["base"]), *([arm.widths] if table.match else [])]
        rows.append((*place, finished(table, arm.number), *results, *costs))
    best = chosen(table)
    names += ["widths"] if table.match else []
    columns = (
        Column("#"),
        *(Column(name, is_choice=True) for name in names),
        *_columns((), ("n", *heads, "parameters", "MACs", "seconds")),
    )
    keys = [str(arm.number) for arm in table.arms]
    marked = None if best is None else best - 1
    return Grid("", columns, rows, marked=marked, mark="chosen by validation", keys=keys)


def _columns(texts: Iterable[str], numbers: Iterable[str] = ()) -> tuple[Column, ...]:
    return (*(Column(heading) for heading in texts), *(Column(heading, "number") for heading in numbers))


def _use(by: Measure, metric: str) -> str:
    if metric == by.choose:
        return " (to choose by)"
    return " (to quote)" if metric == by.quote and by.held_out else ""


def _heads(table: Table, by: Measure, metric: str) -> tuple[str, ...]:
    heads = interval_heads(table, metric)
    return f"{unit(table, metric).label}{_use(by, metric)}", *(heads if metric == by.quote else heads[:1])


def _cells(table: Table, by: Measure, values: Spread, metric: str, n: int) -> tuple[str, ...]:
    fewer, cells = f" (n={values.n})" if 1 < values.n < n else "", interval_cells(table, metric, values)
    return unit(table, metric).mean(values) + fewer, *(cells if metric == by.quote else cells[:1])


def effects_grid(table: Table, metric: str) -> Grid:
    """What each value of each axis does to `metric`, and its difference from the reference value, paired."""
    here, names = unit(table, metric), {axis.path: axis.name for axis in table.axes}
    rows = []
    for row in effects(table, metric=metric).to_dict("records"):
        own, change = effect_spreads(row)
        p = row["holm_of_seeds"], row["p"], row["holm"]
        cells = (here.mean(own), here.interval(own.over_seeds), *_change(table, metric, change, p))
        rows.append((names[row["axis"]], row["text"], str(row["settings"]), str(row["n"]), *cells))
    numbers = ("n", here.label, over(table), "difference", *difference_heads(table, metric))
    return Grid("", _columns(("axis", "value", "matched arms"), numbers), rows)


def _change(table: Table, metric: str, change: Spread | None, p: tuple[float, float, float]) -> tuple[str, ...]:
    if change is None:
        return "reference", "", *(NONE for _ in difference_heads(table, metric)[1:])
    return unit(table, metric).difference(change), *difference_cells(table, metric, change, p=p)


def pruned_grid(table: Table) -> Grid:
    """The arms rejected before training, with the reason."""
    rows = [(entry.label, str(len(entry.seeds)), entry.reason) for entry in table.pruned]
    return Grid("", _columns(("arm", "seeds", "reason")), rows)


def failed_grid(table: Table) -> Grid:
    """The trials that failed, with what they said."""
    failed = table.trials[table.trials["status"] == "failed"]
    labels = {arm.number: arm.label for arm in table.arms}
    repeats = [failed[name].astype(str) for name in table.repeats.values()]
    rows = zip(failed["arm"].map(labels), *repeats, failed["id"], failed["error"], strict=True)
    keys = failed["arm"].astype(str).tolist()
    return Grid("", _columns(("arm", *table.repeats, "trial", "error")), list(rows), keys=keys)
