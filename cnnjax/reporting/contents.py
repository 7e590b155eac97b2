"""What a report says, as plain tables and sentences; the pages and the terminal only lay it out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.reporting.directory import Table
from cnnjax.reporting.intervals import FEWEST, Spread
from cnnjax.reporting.labels import abbreviate
from cnnjax.reporting.mixture import mixed_code
from cnnjax.reporting.statistics import (
    Measure,
    arms,
    chosen,
    complete,
    difference,
    effect_spreads,
    effects,
    measure,
    ranking,
    spread_of,
)
from cnnjax.reporting.units import Unit, count, plural, seconds, unit

INTERVAL = "95% interval"
USES = {"validation": "to choose by", "test": "to quote"}


@dataclass(frozen=True)
class Grid:
    """A table of text: a `header`, `rows` of as many cells, the row to mark, counted from 0, and whether its cells are
    prose, which may be broken into lines."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None
    prose: bool = False


def selection(table: Table, drawn: int) -> str:
    """A sentence that only `drawn` of the arms are shown; empty where all are."""
    if drawn >= len(table.arms):
        return ""
    kind = "best by validation" if ranking(table) else "first"
    return f" Of {len(table.arms)} arms only the {drawn} {kind} are drawn; the table has all."


def finished(table: Table, number: int) -> str:
    """The seeds of an arm: `3`; `2 of 3` where one is missing, `1 of 3 (2 diverged)` where two failed."""
    own = table.trials[table.trials["arm"] == number]
    done, failed = int((own["status"] == "done").sum()), own[own["status"] == "failed"]
    causes = Counter(cause or "failed" for cause in failed["cause"])
    lost = ", ".join(f"{times} {cause}" for cause, times in causes.items())
    return str(done) if done == len(own) else f"{done} of {len(own)}{f' ({lost})' if lost else ''}"


def arms_grid(table: Table) -> Grid:
    """The arms: axes, n, mean ± sd and interval of each held-out metric, parameters, MACs and seconds."""
    frame, shown = arms(table), measure(table).shown
    heads = [head for name in shown for head in (f"{unit(table, name).label}{_use(name)}", INTERVAL)]
    names = [axis.name for axis in table.axes] or ["arm"]
    rows = []
    for arm in table.arms:
        row = frame.loc[arm.number]
        results = [cell for name in shown for cell in _cells(table, spread_of(frame, arm.number, name), name, row["n"])]
        costs = [count(row["params"]), count(row["macs"]), seconds(spread_of(frame, arm.number, "train_seconds"))]
        place = [str(arm.number), *(arm.texts.values() or ["base"]), *([arm.widths] if table.match else [])]
        rows.append((*place, finished(table, arm.number), *results, *costs))
    best = chosen(table)
    names += ["widths"] if table.match else []
    header = ("#", *names, "n", *heads, "parameters", "MACs", "seconds")
    return Grid(header, tuple(rows), None if best is None else best - 1)


def _use(metric: str) -> str:
    use = USES.get(metric.split("_")[0])
    return f" ({use})" if use else ""


def _cells(table: Table, values: Spread, metric: str, n: int) -> tuple[str, str]:
    here = unit(table, metric)
    fewer = f" (n={values.n})" if 1 < values.n < n else ""
    return here.mean(values) + fewer, here.interval(values)


def effects_grid(table: Table, metric: str) -> Grid:
    """What each value of each axis does to `metric`, and its difference from the reference value, paired by seed."""
    here, names = unit(table, metric), {axis.path: axis.name for axis in table.axes}
    rows = []
    for row in effects(table, metric=metric).to_dict("records"):
        own, change = effect_spreads(row)
        cells = (here.mean(own), here.interval(own), *_change(here, change))
        rows.append((names[row["axis"]], row["text"], str(row["settings"]), str(row["n"]), *cells))
    header = ("axis", "value", "matched arms", "n", here.label, INTERVAL, "difference", INTERVAL)
    return Grid(header, tuple(rows))


def _change(here: Unit, change: Spread | None) -> tuple[str, str]:
    if change is None:
        return "reference", ""
    sign = "+" if change.mean > 0 else ""
    return sign + here.mean(change), here.interval(change)


def pruned_grid(table: Table) -> Grid:
    """The arms rejected before training, with the reason."""
    rows = [(entry.label, str(len(entry.seeds)), entry.reason) for entry in table.pruned]
    return Grid(("arm", "seeds", "reason"), tuple(rows), prose=True)


def failed_grid(table: Table) -> Grid:
    """The trials that failed, with what they said."""
    failed = table.trials[table.trials["status"] == "failed"]
    labels = {arm.number: arm.label for arm in table.arms}
    rows = zip(failed["arm"].map(labels), failed["seed"].astype(str), failed["id"], failed["error"], strict=True)
    return Grid(("arm", "seed", "trial", "error"), tuple(rows), prose=True)


def headline(table: Table) -> list[str]:
    """The state of the study, the arm that validation chooses, and how surely."""
    mixed = mixed_code(table.trials, table.codes)
    notes = [*_strangers(table), *_mixture(table), *_metric_note(measure(table)), *_choice(table)]
    return [*mixed, _state(table), *notes]


def _state(table: Table) -> str:
    states = Counter(table.trials["status"])
    seeds = table.trials["seed"].nunique()
    parts = [f"{states['done']} of {len(table.trials)} planned trials finished"]
    parts += [f"{states[state]} {state}" for state in ("failed", "unfinished") if states[state]]
    parts += [f"{plural(len(table.pruned), 'arm')} pruned before training"] if table.pruned else []
    return f"{', '.join(parts)}: {plural(len(table.arms), 'arm')}, {plural(seeds, 'seed')}."


def _strangers(table: Table) -> list[str]:
    if not table.strangers:
        return []
    number = len(table.strangers)
    directories = "1 trial directory is" if number == 1 else f"{number} trial directories are"
    return [
        f"{directories} not in the plan and left out of every number: {abbreviate(', '.join(table.strangers), 80)}."
    ]


def _mixture(table: Table) -> list[str]:
    """A warning where the trials differ in what should be the same for all of them."""
    same = ["cnnjax", "cnnjax_commit", "cnnjax_source", "commit", "python", "versions", "settings", "hardware"]
    same += [] if any(axis.path.split(".")[0] == "data" for axis in table.axes) else ["data fingerprint"]
    mixed = [name for name, texts in _origins(table).items() if name in same and len(set(texts)) > 1]
    if not mixed:
        return []
    return [f"The finished trials do not share the same {', '.join(mixed)} (see provenance): compare them with care."]


def _metric_note(by: Measure) -> list[str]:
    notes = []
    if by.kind == "loss":
        notes.append("No accuracy was recorded: arms are compared by loss, where less is better.")
    if by.quote.startswith("train"):
        notes.append("Only training results were recorded: they say nothing about unseen data.")
    elif by.choose is None:
        notes.append("No validation results were recorded, so no arm is chosen: to choose by test would bias the test.")
    return notes


def _choice(table: Table) -> list[str]:
    best, by = chosen(table), measure(table)
    if by.choose is None or len(table.arms) < 2:
        return []
    if best is None:
        return [f"No arm is chosen: none has all its seeds finished.{_to_come(table)}", *_unranked(table)]
    frame = arms(table)
    most = "highest" if by.higher_is_better else "lowest"
    results = [f"{most} mean {_sentence(table, spread_of(frame, best, by.choose), by.choose)}"]
    if by.quote != by.choose:
        results.append(f"to quote, {_sentence(table, spread_of(frame, best, by.quote), by.quote)}")
    name = table.arms[best - 1].label
    choice = f"Chosen by validation: arm {best} ({name}); {'; '.join(results)}.{_to_come(table)}"
    return [choice, *_runner_up(table, by), *_unranked(table)]


def _to_come(table: Table) -> str:
    """That the choice may change, where trials are still to come: a diverged one is final, the others are not."""
    trials = table.trials
    unfinished = int((trials["status"] == "unfinished").sum())
    again = trials["cause"].isin(["crashed", "damaged"]).sum()
    parts = [f"{plural(unfinished, 'planned trial')} unfinished"] if unfinished else []
    parts += [f"{plural(int(again), 'failed trial')} to be tried again by the next sweep"] if again else []
    return f" This may change: {', '.join(parts)}." if parts else ""


def _unranked(table: Table) -> list[str]:
    """Which arms are out of the choice because seeds of theirs failed: those that survived are the lucky ones."""
    failed = set(table.trials.loc[table.trials["status"] == "failed", "arm"]) - complete(table)
    if not failed:
        return []
    shown = [f"arm {n} ({table.arms[n - 1].label}): {finished(table, n)}" for n in sorted(failed)]
    said = "; ".join(shown[:MOST_NAMED]) + (f"; and {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else "")
    return [f"Not ranked, for seeds failed and the mean of those that survive flatters an arm: {said}."]


MOST_NAMED = 6


def _sentence(table: Table, values: Spread, metric: str) -> str:
    here = unit(table, metric)
    label = here.label.removesuffix(", %")
    if values.n < 2:
        return f"{label} {here.mean(values)}"
    return f"{label} {_mean_and_interval(here, values)}, n={values.n}"


def _mean_and_interval(here: Unit, values: Spread) -> str:
    return f"{here.mean(values)} {here.interval(values)}" if values.has_interval else here.mean(values)


def _runner_up(table: Table, by: Measure) -> list[str]:
    first, *rest = ranking(table)
    if not rest or by.choose is None:
        return []
    gap = difference(table, first, rest[0], metric=by.choose)
    here = unit(table, by.choose)
    lead = f"Next by validation is arm {rest[0]} ({table.arms[rest[0] - 1].label})"
    if gap.n < 2:
        return [f"{lead}; the two share {plural(gap.n, 'finished seed')}, too few to say whether they differ."]
    points = " percentage points" if here.factor == 100 else ""
    numbers = f"{here.mean(gap)}{points}, n={gap.n} common seeds"
    if not gap.has_interval:
        why = "too few for an interval" if gap.n < FEWEST else "all the same, without an interval"
        return [f"{lead}; difference, paired by seed, {numbers}: {why}, so they are not told apart."]
    apart = "the two differ" if gap.low > 0 or gap.high < 0 else "these seeds do not tell the two apart"
    numbers = f"{here.mean(gap)}{points} {here.interval(gap)}, n={gap.n} common seeds"
    return [f"{lead}; difference, paired by seed, {numbers}: {apart} (not corrected for choosing the best of many)."]


def value_notes(table: Table) -> list[str]:
    """For each axis whose values are configs, what its short texts stand for."""
    notes = []
    for axis in table.axes:
        whole = zip(axis.texts, axis.values, strict=True)
        said = [f"{text} is {_flat(value)}" for text, value in whole if isinstance(value, dict)]
        notes += [f"{axis.name}: {'; '.join(said)}."] if said else []
    return notes


def equal_costs(table: Table) -> list[str]:
    """A sentence for each cost that is the same for all of several arms: there is nothing to draw against it."""
    frame = arms(table)
    costs = {"parameters": frame["params"].dropna(), "MACs": frame["macs"].dropna()}
    alike = {name: values for name, values in costs.items() if len(values) > 1 and values.nunique() == 1}
    return [f"All arms have the same {name}: {count(values.iloc[0])}." for name, values in alike.items()]


def unmatched(table: Table, metric: str) -> list[str]:
    """A sentence on the axes whose values never meet at the same setting of the others."""
    without = [axis.name for axis in table.axes if axis.path not in set(effects(table, metric=metric)["axis"])]
    if not without:
        return []
    return [f"Nowhere has every value of {', '.join(without)} finished, all else equal: no effect is given."]


def provenance_grid(table: Table) -> Grid:
    """Code, versions, hardware, data and seconds of the finished trials; differing values are counted."""
    done = table.done
    rows = [("recorded by", f"{len(table.environments)} of {plural(len(done), 'finished trial')}")]
    rows += [(name, _tally(texts)) for name, texts in _origins(table).items()]
    rows += [("training", _total(done["train_seconds"])), ("compilation", _total(done["compile_seconds"]))]
    rows.append(("seeds", ", ".join(map(str, sorted(done["seed"].unique())))))
    return Grid(("what", "value"), tuple(rows), prose=True)


def _origins(table: Table) -> dict[str, list[str]]:
    """Where the finished trials come from: for each thing recorded, what each trial recorded."""
    names = dict.fromkeys(name for environment in table.environments for name in environment)
    origins = {name: [_flat(entry[name]) for entry in table.environments if name in entry] for name in names}
    prints = [_flat(value) for value in table.done["data_fingerprint"] if value is not None]
    return origins | ({"data fingerprint": prints} if prints else {})


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        counts = Counter(map(_flat, value))
        return ", ".join(text if times == 1 else f"{text} (×{times})" for text, times in counts.items())
    return value if isinstance(value, str) else json.dumps(value)


def _tally(texts: Sequence[str]) -> str:
    """The different texts, each with the number of trials that gave it; many of them only as their number."""
    counts = Counter(texts)
    if len(counts) == 1:
        return texts[0]
    if len(counts) > 4:
        return f"{len(counts)} different values over {len(texts)} trials"
    return "; ".join(f"{text} ({plural(times, 'trial')})" for text, times in counts.items())


def _total(values: Any) -> str:
    known = values.dropna()
    return f"{known.sum():,.1f} s in total over n={len(known)} finished trials" if len(known) else "not recorded"


def settings(table: Table) -> list[str]:
    """The base experiment as lines `path = value`."""
    return [f"{path} = {json.dumps(value, ensure_ascii=False)}" for path, value in _leaves(table.base, "")]


def _leaves(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        return [(prefix, value)]
    return [leaf for name, entry in value.items() for leaf in _leaves(entry, f"{prefix}.{name}" if prefix else name)]
