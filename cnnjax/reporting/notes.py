"""How to read a report's numbers: what n, ± and the intervals are of, and what they leave out."""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.documents.counts import count
from cnnjax.reporting.designs import is_sampled
from cnnjax.reporting.intervals import FEWEST, Spread, listed
from cnnjax.reporting.provenance import flat
from cnnjax.reporting.statistics import arms, effects, measure, part_of, quantity_of, ranking, same_examples
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.time_spent import seconds_are
from cnnjax.reporting.units import Unit, p_said, plural, some


def arms_note(table: Table) -> str:
    """How to read the arms' table."""
    by = measure(table)
    both = len(by.shown) > 1 and by.compared is not None
    roles = "Validation is for choosing an arm, test for quoting the chosen one. " if both else ""
    cost = {"macs": "multiply-accumulates", "params": "parameters"}.get(table.match or "")
    matched = f" Widths were rescaled so that arms have equally many {cost} (within 2%)." if cost else ""
    constant = "".join(f" {axis.path} = {axis.texts[0]} throughout." for axis in table.constants)
    together = " Trials that were trained together share one measurement of seconds, without ±."
    return (
        f"{roles}All results are of the last epoch. n counts {_counted(table)}; ± is their standard deviation "
        f"(ddof = 1). {intervals_note(table)}{survivors_note(table)} MACs are of one forward pass of one example; "
        f"seconds are {seconds_are(table)}.{together if (table.done['packed'] > 1).any() else ''}"
        f"{matched}{constant}"
    )


def _counted(table: Table) -> str:
    if table.replicate == "seed":
        return "the finished seeds"
    return "the finished folds, each with the mean over its seeds"


def too_few(table: Table) -> str:
    """Which seeds or folds are too few for an interval in an arm that has results: "seeds", "folds"; or empty."""
    least = table.cells.groupby("arm")[list(table.repeats.values())].nunique().min()
    return " or ".join(f"{word}s" for word, column in table.repeats.items() if not least[column] >= FEWEST)


def repeats(table: Table) -> str:
    """What intervals are over: "seeds", "folds and seeds"."""
    return listed(f"{word}s" for word in table.repeats)


def intervals_note(table: Table) -> str:
    """What the intervals are and what they cover."""
    few, words = too_few(table), repeats(table)
    none = f" Two {few} cannot carry an interval, nor can one: an en dash stands there." if few else ""
    if not any_interval(table):
        return none.strip() or f"There are no intervals: all {words} tie."
    note = "Intervals are of the mean, each arm on its own, not corrected for the number of arms. "
    kinds = [quantity_of(table, name) for name in measure(table).shown]
    of = kinds[-1]
    if not all(kind.proportion for kind in kinds):
        if any(kind.proportion for kind in kinds):
            return f"{note}How each is made stands in arms.csv as its method.{none}"
        cut = ", cut at 0 and 100%" if of.high == 1 else ", cut at 0" if of.low == 0 else ""
        covers = f"cover the choice of {words}, on these examples"
        return f"{note}They are Student's t {_degrees(table)}{cut}, and {covers}.{none}"
    own = (
        f"Over {words}: what other {words} would give on these examples, Jeffreys intervals at the effective number of "
        "examples (Franco et al. 2019)."
    )
    if not sizes_note(table):
        return f"{note}{own} Of how many examples was not recorded, so that there are none over examples.{none}"
    both = (
        f" Also over examples: what other {words} and other examples ({sizes_note(table)}) would give, exact binomial "
        f"intervals (Korn and Graubard 1998). How far {words} err on the same examples is not known to them: they "
        "allow for the worst, and hold the mean in 95% of studies at least."
    )
    shared = (
        " The examples are the same for every arm: where intervals overlap, arms may differ all the same, as their "
        f"differences paired by {listed(table.repeats)} tell."
        if same_examples(table)
        else " Not all arms were measured on the same examples: their differences are less sure than they seem."
    )
    return f"{note}{own}{both}{shared if len(table.arms) > 1 else ''}{none}"


def _degrees(table: Table) -> str:
    if table.replicate == "seed":
        return "with n − 1 degrees of freedom"
    return "over folds and over seeds, whose margins add in squares without that of what both leave"


def any_interval(table: Table) -> bool:
    """Whether any arm has an interval of any metric that is shown."""
    frame = arms(table)
    return any((frame[f"{name}_method"] != "").any() for name in measure(table).shown)


def sizes_note(table: Table) -> str:
    """Of how many examples the metrics that are shown are shares, by part; empty where one is no share of counted
    ones."""
    names = measure(table).shown
    if not all(quantity_of(table, name).is_counted for name in names):
        return ""
    return ", ".join(f"{part} n={_sizes(table, part)}" for part in dict.fromkeys(map(part_of, names)))


def _sizes(table: Table, part: str) -> str:
    sizes = sorted({sizes[part] for sizes in table.results["examples"]})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def varied_note(table: Table) -> str:
    """What differs from one result of an arm to the next: of Bouthillier et al. 2021 (arXiv:2103.03098), which sources
    of variance are in what is said, and which are not."""
    seeds = (
        "Seeds vary together what a training draws at random: first weights, the order of examples, augmentation, "
        "mixing and dropout."
    )
    if table.replicate == "fold":
        return f"{seeds} Folds vary which examples are held out for validation, and with them those that are learned."
    return f"{seeds} Which examples are learned, held out and tested is the same for all: other splits are not seen."


def by_seeds_said(table: Table, found: Sequence[str]) -> str:
    """What seeds alone tell apart, where examples are too few; with a space before it, empty where nothing is."""
    if not found:
        return ""
    return f" Over {repeats(table)} alone, on these examples: {some(found)}; other examples might say the opposite."


def over_seeds(difference: Spread, p: float, here: Unit) -> str:
    """A difference with its interval over seeds and the corrected p that belongs to it."""
    size = here.size(difference.mean, signed=True)
    return f"{size} {here.interval(difference.over_seeds)}, n={difference.n}, {p_said(p)}"


def survivors_note(table: Table) -> str:
    """That means leave failed seeds out, where some failed; with a space before it."""
    if not (table.trials["status"] == "failed").any():
        return ""
    what = "Seeds that failed" if table.replicate == "seed" else "Folds of which a seed failed"
    return f" {what} are in no mean, which flatters their arms: those are not ranked."


def incomplete_note(table: Table, used: int) -> str:
    """That only `used` arms, whose seeds have all finished, are in what is said; with a space before it."""
    without = len(table.arms) - used
    verb = "is" if without == 1 else "are"
    return f" {plural(without, 'arm')} without a result of every seed {verb} not in it." if without else ""


def effects_note(table: Table) -> str:
    """How to read what each axis does."""
    of = quantity_of(table, measure(table).shown[-1])
    shared = " (they are the same for both arms, so their error is not added twice)" if same_examples(table) else ""
    wider = (
        ". p over seeds, corrected: that of the paired t test over seeds alone. Also over examples: widened for their "
        f"choice, as if arms disagreed on no more of them than make the difference{shared}; p over "
        "examples too is that of this interval"
        if of.is_counted
        else ", on these examples; p is theirs"
    )
    intervals = (
        f" Differences' intervals are Student's t over {repeats(table)}{wider}. Each stands on its own, and so does "
        "its p; corrected is p after Holm (1979) for all values of the table."
        if any_interval(table)
        else ""
    )
    return (
        f"Like is compared with like: only over settings of the other axes (matched arms) and {table.replicate}s (n) "
        "with which every value of the axis has finished, the largest such block where trials are missing. Each "
        f"{table.replicate}'s result is "
        "averaged over the matched arms; mean, ± and intervals are as in the arms' table. Differences are to the "
        f"reference value, paired by {listed(table.repeats)}.{intervals}{survivors_note(table)}"
    )


def terminal_note(table: Table, *, starred: bool) -> str:
    """The line below the table in the terminal."""
    words = f"{table.replicate}s"
    parts = [f"mean ± sd over n {words}"]
    if any_interval(table):
        parts[0] += f" [95% interval of the mean, over {repeats(table)}]"
    if few := too_few(table):
        parts.append(f"fewer than three {few} carry no interval")
    parts.append(f"seconds {seconds_are(table)}")
    parts += [f"failed {words} are in no mean, which flatters"] if survivors_note(table) else []
    return "; ".join([*parts, *(["* chosen by validation"] if starred else [])])


def selection(table: Table, drawn: int) -> str:
    """A sentence that only `drawn` of the arms are shown; empty where all are."""
    if drawn >= len(table.arms):
        return ""
    kind = "best by validation" if ranking(table) else "first"
    return f" Of {len(table.arms)} arms only the {drawn} {kind} are drawn; the table has all."


def value_notes(table: Table) -> list[str]:
    """For each axis whose values are configs, what its short texts stand for."""
    notes = []
    for axis in table.axes:
        whole = zip(axis.texts, axis.values, strict=True)
        said = [f"{text} is {flat(value)}" for text, value in whole if isinstance(value, dict)]
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
    if is_sampled(table):
        return ["Arms were drawn: few or none differ in one axis alone, so that no effects at matched arms are given."]
    return [f"Nowhere has every value of {', '.join(without)} finished, all else equal: no effect is given."]
