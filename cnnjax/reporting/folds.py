"""What the choice of the validation fold does to results, beside what the seed does."""

from __future__ import annotations

import math

from cnnjax.reporting.statistics import measure, part_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural, unit

OVERLAP = (
    "Folds share most of their training examples, so that intervals over them are somewhat too narrow (Nadeau and "
    "Bengio 2003)."
)


def fold_sentences(table: Table) -> list[str]:
    """How far folds and seeds move results, and what intervals over folds leave out; none where no fold varies."""
    if table.replicate != "fold":
        return []
    by, said = measure(table), []
    for metric in dict.fromkeys(name for name in (by.choose, by.quote) if name is not None):
        between, within = fold_and_seed_sd(table, metric)
        if math.isnan(between):
            continue
        here = unit(table, metric)
        symbol = " percentage points" if here.is_percent else f" {here.symbol}".rstrip()
        seeds = "" if math.isnan(within) else f", the seed by {here.number(within)} (sd within a fold)"
        folds = plural(table.results["replicate"].nunique(), "fold")
        examples = ", each on examples of its own" if part_of(metric) == "validation" else ""
        said.append(
            f"The fold moves the {here.name} of an arm by {here.number(between)}{symbol} (sd of {folds}{examples})"
            f"{seeds}."
        )
    return [*said, OVERLAP]


def fold_and_seed_sd(table: Table, metric: str) -> tuple[float, float]:
    """How much of a result's standard deviation is the fold's and how much the seed's, each on its own.

    They are the components of a one-way analysis of variance with random effects, pooled over arms: of an arm with F
    folds of S seeds, the variance within folds is the seeds', and that of the folds' means, less a share 1/S of it, is
    the folds' (Searle, Casella and McCulloch 1992, section 3.6; 0 where it would be negative). Of single seeds the
    second is NaN, and the first holds both; of less than two whole folds both are NaN.
    """
    whole = set(zip(table.results["arm"], table.results["replicate"], strict=True))
    done = table.done.dropna(subset=metric)
    done = done[[own in whole for own in zip(done["arm"], done["replicate"], strict=True)]]
    folds = done.groupby(["arm", "replicate"])[metric].agg(["mean", "var", "size"])
    # Seeds are the same in every fold.
    seeds, arms = int(folds["size"].min()) if len(folds) else 0, folds["mean"].groupby("arm")
    of_means = arms.var().dropna()
    if of_means.empty:
        return math.nan, math.nan
    weights = arms.size().loc[of_means.index] - 1
    between = float((of_means * weights).sum() / weights.sum())
    if seeds < 2:
        return math.sqrt(between), math.nan
    within = float(folds["var"].mean())
    return math.sqrt(max(between - within / seeds, 0.0)), math.sqrt(within)
