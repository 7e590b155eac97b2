"""The arms that both studies have: their results in each, the difference, and whether the order is the same."""

from __future__ import annotations

import math

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.beside.pair import NAMES, Gap, Matched, Pair
from cnnjax.reporting.beside.picture import beside
from cnnjax.reporting.compared import ALPHA
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.intervals import FEWEST, Spread, listed
from cnnjax.reporting.statistics import chosen
from cnnjax.reporting.units import json_number, p_value, plural
from cnnjax.statistics.families import adjusted
from cnnjax.statistics.ranks import rank_agreement
from cnnjax.statistics.results import PValue

MOST_NAMED = 3


def results_panel(pair: Pair) -> Finding:
    """Each arm of both in A and in B, what B is less A, and rank correlation."""
    found = [(arm, pair.spreads(arm), pair.gap(arm)) for arm in pair.matched]
    holm = [float(p) for p in adjusted([gap.test.p for *_, gap in found])]
    here, order = pair.unit, ranks(pair)
    rows = [_row(pair, *each, corrected) for each, corrected in zip(found, holm, strict=True)]
    heads = [(f"{here.label}\nin {name}", f"95% interval\nover {pair.over}\nin {name}") for name in NAMES]
    also = (Column("also over\nexamples", "number", rank=2),) if pair.is_counted else ()
    columns = (
        *(Column(f"#\nin {name}", rank=1) for name in NAMES),
        Column("arm"),
        *(Column(f"n in {name}", "number", rank=1) for name in NAMES),
        *(Column(head, "number", rank=rank) for pair_of in heads for head, rank in zip(pair_of, (0, 2), strict=True)),
        Column("B less A", "number"),
        Column(f"its 95% interval\nover {pair.over}", "number"),
        *also,
        Column("p", "number", rank=3),
        Column("p, corrected", "number", rank=1),
        Column("paired", rank=1),
    )
    keys = [str(arm.own[0].number) for arm in pair.matched]
    drawn = Sketch("beside", f"{here.name} in B against A", lambda: beside(pair))
    data = {
        "metric": pair.metric,
        "arms": [_json(*each, corrected) for each, corrected in zip(found, holm, strict=True)],
        "order": {"tau": json_number(order.statistic), "p": json_number(order.p), "n": order.n},
    }
    notes = [paragraph(_note(pair, [gap for *_, gap in found])), paragraph(_order(order))]
    return Finding(
        "results",
        "The same arms in both",
        [Grid("", columns, rows, keys=keys), *notes, drawn],
        answers=(*_chosen(pair), *_answers(pair, found, holm), *_ordered(order)),
        data=data,
    )


def ranks(pair: Pair) -> PValue:
    """Whether both put the arms in the same order, by their means: Kendall's tau-b of those with results in both."""
    # Means of the same numbers in another order differ in their last bits: they tie.
    means = [[float(f"{spread.mean:.12g}") for spread in pair.spreads(arm)] for arm in pair.matched]
    return rank_agreement([one for one, _ in means], [other for _, other in means])


def _row(pair: Pair, arm: Matched, spreads: tuple[Spread, Spread], gap: Gap, holm: float) -> tuple[str, ...]:
    here = pair.unit
    results = [cell for own in spreads for cell in (here.mean(own), here.interval(own.over_seeds))]
    numbers = [str(own.number) for own in arm.own]
    difference = here.difference(gap.difference), *pair.intervals(gap.difference)
    change = (*difference, p_value(gap.test.p), p_value(holm))
    paired = f"n={gap.difference.n}" if gap.paired else "no"
    return (*numbers, arm.label, *(str(own.n) for own in spreads), *results, *change, paired)


def _json(arm: Matched, spreads: tuple[Spread, Spread], gap: Gap, holm: float) -> dict[str, object]:
    return {
        "label": arm.label,
        "numbers": [own.number for own in arm.own],
        **{name: own.to_json() for name, own in zip(NAMES, spreads, strict=True)},
        "difference": gap.difference.to_json(),
        "paired": gap.paired,
        "p": json_number(gap.test.p),
        "holm": json_number(holm),
    }


def _note(pair: Pair, gaps: list[Gap]) -> str:
    word, paired = pair.tables[0].replicate, sum(gap.paired for gap in gaps)
    by = listed(pair.tables[0].repeats)
    how = []
    if paired:
        how.append(f"Where it is paired it is over the {word}s that both finished, on the same data, paired by {by}.")
    if paired < len(gaps):
        why = f" ({pair.unpaired_for})" if pair.unpaired_for else ": its data are not known to be the same in both"
        of_examples = any("examples" in gap.difference.method for gap in gaps if not gap.paired)
        how.append(
            f"Where it is not{why}, its interval is Welch's t of two independent means"
            f"{', widened for the choice of the examples of each' if of_examples else ''}: it says less than a paired "
            "one would."
        )
    return (
        f"Results are each study's own, as in its report, of {pair.unit.name}. B less A: the difference of the means. "
        f"{' '.join(how)} Intervals are each on their own; p is that of the {pair.wider}interval: below {ALPHA} where "
        f"it leaves 0 out; corrected: after Holm (1979), for all arms of this table. Fewer than {FEWEST} {word}s carry "
        "no interval."
    )


def _order(order: PValue) -> str:
    if math.isnan(order.statistic):
        return f"No rank correlation of {plural(order.n, 'arm')}: {order.why}."
    return (
        f"Kendall's tau-b of the arms' means in A and in B: {order.statistic:.2f}, n={order.n} arms; p="
        f"{p_value(order.p)} that the two orders have nothing in common. 1 is the same order, -1 the reversed one. "
        "Differences between arms that no seeds tell apart count in it as all others do."
    )


def _ordered(order: PValue) -> list[str]:
    if math.isnan(order.statistic):
        return []
    return [f"Order of the arms in A and in B: Kendall's tau {order.statistic:.2f}, n={order.n} arms."]


def _chosen(pair: Pair) -> list[str]:
    best = [chosen(table) for table in pair.tables]
    if None in best:
        return []
    labels = [table.arms[number - 1].label for table, number in zip(pair.tables, best, strict=True) if number]
    same = any([own.number for own in arm.own] == best for arm in pair.matched)
    if same:
        return [f"Validation chooses the same arm in both: {labels[0]}."]
    return [f"Validation chooses {labels[0]} in A and {labels[1]} in B."]


def _answers(pair: Pair, found: list[tuple[Matched, tuple[Spread, Spread], Gap]], holm: list[float]) -> list[str]:
    tested = [(arm, gap, p) for (arm, _, gap), p in zip(found, holm, strict=True) if not math.isnan(p)]
    if not tested:
        return []
    here = pair.unit
    differ = sorted(((arm, gap, p) for arm, gap, p in tested if p < ALPHA), key=lambda each: each[2])
    corrected = f", corrected for {len(tested)} comparisons" if len(tested) > 1 else ""
    if not differ:
        none = "the arm is not" if len(tested) == 1 else f"none of {len(tested)} arms is"
        return [f"By {here.name}, {none} found to differ between A and B{corrected}."]
    said = "; ".join(
        f"{arm.label} by {pair.unit.difference(gap.difference)} {here.interval(gap.difference)}"
        for arm, gap, _ in differ[:MOST_NAMED]
    )
    more = f"; and {len(differ) - MOST_NAMED} more" if len(differ) > MOST_NAMED else ""
    verb = "differs" if len(differ) == 1 else "differ"
    many = f"{len(differ)} of {plural(len(tested), 'arm')}"
    return [f"By {here.name}, {many} {verb} between A and B (B less A){corrected}: {said}{more}."]
