"""What a report says first: the state of the study, which arm validation chooses, and how surely."""

from __future__ import annotations

from collections import Counter

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.records.design_words import design_words
from cnnjax.records.result_json import TRIED_AGAIN
from cnnjax.records.specification import Specification
from cnnjax.reporting.adaptive import STOPPED, adaptive_sentences
from cnnjax.reporting.at_chance import at_chance_sentences
from cnnjax.reporting.folds import fold_sentences
from cnnjax.reporting.intervals import FEWEST, Spread, listed
from cnnjax.reporting.mixture import mixed_code
from cnnjax.reporting.notes import repeats, too_few
from cnnjax.reporting.provenance import origins
from cnnjax.reporting.same_training import same_training_sentences
from cnnjax.reporting.specified import Specified
from cnnjax.reporting.statistics import (
    Measure,
    arms,
    chosen,
    complete,
    difference,
    measure,
    ranking,
    spread_of,
)
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import finished
from cnnjax.reporting.units import Unit, plural, unit


def headline(table: Table) -> list[str]:
    """The state of the study, the arm that validation chooses, and how surely."""
    mixed = mixed_code(table.trials, table.codes)
    notes = [*_amiss(table), *_metric_note(table), *_choice(table), *_runner_up(table), *_unranked(table)]
    planned = [] if table.study is None else design_words(table.study)
    return [*mixed, _state(table), *adaptive_sentences(table.adaptive), *planned, *notes, *fold_sentences(table)]


def foremost(table: Table) -> list[str]:
    """Those of the headline without which no answer is to be read: what is amiss or missing, what arms are compared by,
    where that is not what one would expect, and the arm that validation chooses."""
    whole = (table.trials["status"] == "done").all()
    state = [] if whole and not table.pruned else [_state(table)]
    mixed = mixed_code(table.trials, table.codes)
    return [*mixed, *state, *_amiss(table), *_metric_note(table), *_choice(table), *_unranked(table)]


def _amiss(table: Table) -> list[str]:
    """What is damaged, missing or mixed, which trials learned nothing, and which arms are the same."""
    damaged = [f"{said}." for said in table.damaged]
    notes = [*_strangers(table), *_cut_curves(table), *_unmoved(table), *at_chance_sentences(table), *damaged]
    return [*notes, *_unusable(table), *_mixture(table), *same_training_sentences(table)]


def _state(table: Table) -> str:
    states = Counter(table.trials["status"])
    repeated = ", ".join(plural(table.trials[column].nunique(), word) for word, column in table.repeats.items())
    parts = [f"{states['done']} of {len(table.trials)} planned trials finished"]
    parts += [f"{states[state]} {state}" for state in ("failed", "unfinished", STOPPED) if states[state]]
    parts += [f"{plural(len(table.pruned), 'arm')} pruned before training"] if table.pruned else []
    return f"{', '.join(parts)}: {plural(len(table.arms), 'arm')}, {repeated}."


def _strangers(table: Table) -> list[str]:
    if not table.strangers:
        return []
    number = len(table.strangers)
    directories = "1 trial directory is" if number == 1 else f"{number} trial directories are"
    return [
        f"{directories} not in the plan and left out of every number: {abbreviate(', '.join(table.strangers), 80)}."
    ]


def _cut_curves(table: Table) -> list[str]:
    if not table.cut_curves:
        return []
    number, named = len(table.cut_curves), abbreviate(", ".join(table.cut_curves), 80)
    return [
        f"The learning curves lack epochs of {number} of {plural(len(table.done), 'finished trial')}, whose "
        f"metrics.jsonl is missing or incomplete: {named}. All other numbers are of these trials too."
    ]


def _unmoved(table: Table) -> list[str]:
    if not table.unmoved:
        return []
    number, named = len(table.unmoved), abbreviate(", ".join(table.unmoved), 80)
    return [
        f"No parameter moved in the first epoch of {number} of {plural(len(table.done), 'finished trial')}, whose "
        f"numbers are of the weights that it began with: {named}. Was the learning rate too small for float32?"
    ]


def _unusable(table: Table) -> list[str]:
    """What finished trials recorded of the metric that arms are compared by, and is no number, or no share where it
    should be."""
    by, notes = measure(table), []
    for metric in dict.fromkeys(filter(None, (by.choose, by.quote))):
        here, of, done = unit(table, metric), table.specified.of(metric), table.done
        missing = done.loc[done[metric].isna(), "id"].tolist()
        if missing:
            notes.append(
                f"The {here.name} of {len(missing)} of {plural(len(done), 'finished trial')} is missing or no finite "
                f"number: {abbreviate(', '.join(missing), 80)}."
            )
        beyond = done[(done[metric] < 0) | (done[metric] > 1)]
        if of is not None and of.unit == "share" and len(beyond):
            named = ", ".join(f"{name} ({value:g})" for name, value in zip(beyond["id"], beyond[metric], strict=True))
            notes.append(
                f"The {here.name} of {plural(len(beyond), 'trial')} is no share, which lies between 0 and 1: "
                f"{abbreviate(named, 80)}. Nothing that it is part of can be trusted."
            )
    return notes


def _mixture(table: Table) -> list[str]:
    """A warning where the trials differ in what should be the same for all of them."""
    same = ["cnnjax", "cnnjax_commit", "cnnjax_source", "commit", "python", "versions", "settings", "hardware"]
    same += [] if any(axis.path.split(".")[0] == "data" for axis in table.axes) else ["data fingerprint"]
    mixed = [name for name, texts in origins(table).items() if name in same and len(set(texts)) > 1]
    if not mixed:
        return []
    return [f"The finished trials do not share the same {', '.join(mixed)} (see provenance): compare them with care."]


def _metric_note(table: Table) -> list[str]:
    by = measure(table)
    notes = _compared_by(table.specified, by)
    if not by.held_out:
        notes.append("Only training results were recorded: they say nothing about unseen data.")
    elif by.choose is None and by.compared is not None:
        notes.append("No validation results were recorded, so no arm is chosen: to choose by test would bias the test.")
    return notes


def _compared_by(specified: Specified, by: Measure) -> list[str]:
    """Which metric arms are compared by, where that is not what one would expect, and why they are not compared."""
    if by.compared is None:
        why = "they were trained with different losses, whose values are of different kinds"
        if len(specified.said) > 1:
            named = (
                f"{words} (arm{'s' * (len(arms) > 1)} {abbreviate(', '.join(map(str, arms)))})"
                for words, arms in specified.said
            )
            why = f"their trials are measured by different metrics, {' and '.join(named)}"
        return [f"The arms are not compared, and none is chosen: {why}. A study of each kind alone compares its arms."]
    better = "where more is better" if by.compared.higher_is_better else "where less is better"
    said = f"arms are compared by {by.compared.words}, {better}."
    expected = specified.named(specified.expected)
    notes = []
    if len(specified.tasks) > 1:
        notes.append(
            f"Arms were trained for different tasks ({', '.join(specified.tasks)}), and are compared as if the "
            f"{by.compared.words} of each were of the same thing: see that it is."
        )
    if by.compared.name != expected.name:
        return [*notes, f"{_not_compared(specified, expected)}: {said}"]
    return notes if by.compared.higher_is_better else [*notes, f"A{said[1:]}"]


def _not_compared(specified: Specified, expected: Specification) -> str:
    if expected.name in specified.order:
        return f"No {expected.words} was recorded"
    if expected.is_loss and specified.losses_differ:
        return "The arms were trained with different losses, whose values are of different kinds"
    return f"The {expected.words} is not in the same unit, or not there, for all arms"


def _choice(table: Table) -> list[str]:
    best, by = chosen(table), measure(table)
    if by.choose is None or by.quote is None or by.compared is None or len(table.arms) < 2:
        return []
    if best is None:
        return [f"No arm is chosen: none has all its {table.replicate}s finished.{_to_come(table)}"]
    frame = arms(table)
    most = "highest" if by.compared.higher_is_better else "lowest"
    results = [f"{most} mean {_sentence(table, spread_of(frame, best, by.choose), by.choose)}"]
    if by.quote != by.choose:
        results.append(f"to quote, {_sentence(table, spread_of(frame, best, by.quote), by.quote)}")
    name = table.arms[best - 1].label
    return [f"Chosen by validation: arm {best} ({name}); {'; '.join(results)}.{_to_come(table)}"]


def _to_come(table: Table) -> str:
    """That the choice may change, where trials are still to come: a diverged one is final, the others are not."""
    trials = table.trials
    unfinished = int((trials["status"] == "unfinished").sum())
    again = trials["cause"].isin([*TRIED_AGAIN, "damaged"]).sum()
    parts = [f"{plural(unfinished, 'planned trial')} unfinished"] if unfinished else []
    parts += [f"{plural(int(again), 'failed trial')} to be tried again by the next sweep"] if again else []
    return f" This may change: {', '.join(parts)}." if parts else ""


def _unranked(table: Table) -> list[str]:
    """Which arms are out of the choice because seeds of theirs failed: those that survived are the lucky ones."""
    by = measure(table)
    failed = set(table.trials.loc[table.trials["status"] == "failed", "arm"]) - complete(table)
    if not failed or by.choose is None or by.compared is None or len(table.arms) < 2:
        return []
    shown = [f"arm {n} ({table.arms[n - 1].label}): {finished(table, n)}" for n in sorted(failed)]
    said = "; ".join(shown[:MOST_NAMED]) + (f"; and {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else "")
    lost = f"{table.replicate}s failed and the mean of those that survive flatters an arm"
    return [f"Not ranked, for {lost}: {said}."]


MOST_NAMED = 6


def _sentence(table: Table, values: Spread, metric: str) -> str:
    here = unit(table, metric)
    behind = "" if here.is_percent or not here.symbol else f" {here.symbol}"
    if values.n < 2:
        return f"{here.name} {here.mean(values)}{behind}"
    return f"{here.name} {_mean_and_interval(here, values)}{behind}, n={values.n}"


def _mean_and_interval(here: Unit, values: Spread) -> str:
    return (
        f"{here.mean(values)} {here.interval(values.over_seeds)}"
        if values.over_seeds.has_interval
        else here.mean(values)
    )


def _runner_up(table: Table) -> list[str]:
    by, ranked = measure(table), ranking(table)
    if len(ranked) < 2 or by.choose is None:
        return []
    first, *rest = ranked
    gap = difference(table, first, rest[0], metric=by.choose)
    here = unit(table, by.choose)
    word = table.replicate
    lead = f"Next by validation is arm {rest[0]} ({table.arms[rest[0] - 1].label})"
    if gap.n < 2:
        return [f"{lead}; the two share {plural(gap.n, f'finished {word}')}, too few to say whether they differ."]
    points = here.points
    numbers, paired_by = f"{here.mean(gap)}{points}, n={gap.n} common {word}s", listed(table.repeats)
    if not gap.has_interval:
        few = "too few" if gap.n < FEWEST else f"too few {words}" if (words := too_few(table)) else ""
        why = f"{few} for an interval" if few else "all the same, without an interval"
        return [f"{lead}; difference, paired by {paired_by}, {numbers}: {why}, so they are not told apart."]
    apart = "the two differ" if gap.low > 0 or gap.high < 0 else f"these {repeats(table)} do not tell the two apart"
    numbers = f"{here.mean(gap)}{points} {here.interval(gap)}, n={gap.n} common {word}s"
    return [
        f"{lead}; difference, paired by {paired_by}, {numbers}: {apart} (not corrected for choosing the best of many)."
    ]
