"""Which arms differ from which: every pair of them, corrected for how many pairs there are."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cnnjax.documents.counts import NONE
from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.compared import ALPHA, Compared, compared_pairs, with_results
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.intervals import listed
from cnnjax.reporting.notes import survivors_note
from cnnjax.reporting.picture_pairs import matrix
from cnnjax.reporting.pictures import title_of
from cnnjax.reporting.statistics import chosen, foremost, measure, ranking, reference, side_by_side
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.tables import interval_cells, interval_heads, p_head
from cnnjax.reporting.units import Unit, json_number, p_value, plural, unit
from cnnjax.statistics.families import adjusted
from cnnjax.statistics.outperforming import Outperforming, outperforming
from cnnjax.statistics.pairs import Pairs, compare
from cnnjax.statistics.results import Estimate, PValue

LIMIT, ROWS, MOST_NAMED = 16, 40, 6
"""The most arms of which all pairs are compared, the most pairs that the table has, and the most arms of a sentence."""
SIGNS: Mapping[str, str] = {"wilcoxon": "Wilcoxon", "sign": "sign test", "sign_flip": "sign flips"}
"""The tests of signs and ranks, fields of `Pairs`, and what they are called."""


@dataclass(frozen=True)
class Pair:
    """Two arms. compared: their difference as a test, corrected after Holm; false_discovery: its p after Benjamini and
    Hochberg (1995) for the same pairs. seeds: the effect size and the tests of signs and ranks; better: how often the
    first is the better one. Of folds and seeds these two are None."""

    compared: Compared
    false_discovery: float
    seeds: Pairs | None
    better: Outperforming | None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, None for what cannot be said."""
        said = {**self.compared.to_json(), "benjamini_hochberg": json_number(self.false_discovery)}
        if self.seeds is None or self.better is None:
            return said
        share = self.better.probability
        signs = {name: _p_json(getattr(self.seeds, name)) for name in SIGNS}
        return {
            **said,
            "g_z": [json_number(value) for value in (self.seeds.g_z.value, self.seeds.g_z.low, self.seeds.g_z.high)],
            "better": [json_number(value) for value in (share.value, share.low, share.high)],
            "tests": signs,
        }


def pairs_panel(table: Table) -> Finding | None:
    """Every pair of arms, as a matrix and as a table of those that differ; of many arms the best by validation.

    None where arms are not compared, of fewer than three arms with results, and where no pair has seeds enough.
    """
    by = measure(table)
    if by.compared is None or by.quote is None:
        return None
    known = set(with_results(table, by.quote))
    arms = [arm for arm in foremost(table, limit=LIMIT) if arm.number in known]
    if len(arms) < 3:
        return None
    higher, here = by.compared.higher_is_better, unit(table, by.quote)
    found = all_pairs(table, arms, metric=by.quote, higher_is_better=higher)
    tests = [own.compared for own in found]
    if not any(own.is_tested for own in tests):
        return None
    drawing = partial(matrix, table, arms, tests, here, higher_is_better=higher)
    title = f"{title_of(by.compared)}: every arm beside every other"
    blocks: list[Block | Sketch] = [Sketch("pairs", title, drawing), paragraph(_counts(table, arms, found))]
    if any(own.differs for own in tests):
        blocks += [_by_arm(arms, found), _grid(table, found, by.quote), paragraph(_note(table, found, here))]
    data = {
        "metric": by.quote,
        "alpha": ALPHA,
        "arms": [arm.number for arm in arms],
        "tests": {name: _methods(found, name) for name in SIGNS} if table.replicate == "seed" else {},
        "pairs": [own.to_json() for own in found],
    }
    return Finding("pairs", "Every pair of arms", blocks, answers=_answers(table, arms, found, here), data=data)


def all_pairs(table: Table, arms: Sequence[Arm], *, metric: str, higher_is_better: bool) -> list[Pair]:
    """Every two of `arms`, all of which have results, the better one first."""
    values, sign = side_by_side(table, metric=metric), 1 if higher_is_better else -1
    ordered = []
    for one, other in itertools.combinations([arm.number for arm in arms], 2):
        is_better = sign * (values[one] - values[other]).mean() >= 0
        ordered.append((one, other) if is_better else (other, one))
    found = compared_pairs(table, ordered, metric=metric)
    shares = adjusted([own.p for own in found], "benjamini-hochberg")
    pairs = []
    for own, share in zip(found, shares, strict=True):
        if table.replicate == "seed":
            better, worse = values[own.arm], values[own.against]
            pairs.append(Pair(own, float(share), compare(better, worse), outperforming(sign * better, sign * worse)))
        else:
            pairs.append(Pair(own, float(share), None, None))
    return pairs


def _methods(found: Sequence[Pair], test: str) -> list[str]:
    """How a test was made: exactly, or, of many seeds, of random flips."""
    return sorted({getattr(own.seeds, test).method for own in found if own.seeds is not None})


def _p_json(test: PValue) -> dict[str, Any]:
    return {"p": json_number(test.p), "smallest": test.smallest}


def _counts(table: Table, arms: Sequence[Arm], found: Sequence[Pair]) -> str:
    """How many pairs there are, of which arms, and how many differ."""
    which = "best by validation" if ranking(table) else "first"
    lead = f"Of {len(table.arms)} arms only the {len(arms)} {which} are compared" if len(arms) < len(table.arms) else ""
    lead = lead or f"All {len(arms)} arms are compared"
    untested = sum(not own.compared.is_tested for own in found)
    holm = sum(own.compared.differs for own in found)
    shares = sum(own.false_discovery < ALPHA for own in found)
    verb = "differs" if holm == 1 else "differ"
    rest = f" {untested} could not be tested." if untested else ""
    return (
        f"{lead}: {plural(len(found), 'pair')}, of which {holm} {verb} after Holm's correction and {shares} after that "
        f"of Benjamini and Hochberg; arms.json has them all.{rest}{survivors_note(table)}"
    )


def _by_arm(arms: Sequence[Arm], found: Sequence[Pair]) -> Grid:
    """How many arms each is better than, worse than and not told apart from."""
    better = Counter(own.compared.arm for own in found if own.compared.differs)
    worse = Counter(own.compared.against for own in found if own.compared.differs)
    alike = Counter(
        number
        for own in found
        if own.compared.is_tested and not own.compared.differs
        for number in (own.compared.arm, own.compared.against)
    )
    rows = [
        (str(arm.number), arm.label, *(str(counts[arm.number]) for counts in (better, worse, alike))) for arm in arms
    ]
    heads = ("better than", "worse than", "not told apart from")
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    return Grid("", columns, rows, keys=[str(arm.number) for arm in arms])


def _grid(table: Table, found: Sequence[Pair], metric: str) -> Grid:
    """The pairs that differ, the surest first."""
    here = unit(table, metric)
    differ = sorted((own for own in found if own.compared.differs), key=lambda own: own.compared.p)[:ROWS]
    signs = [name for name in SIGNS if any(_can_find(own, name) for own in differ)]
    seeds = table.replicate == "seed"
    rows = [
        (
            _named(table, own.compared.arm),
            _named(table, own.compared.against),
            str(own.compared.difference.n),
            here.difference(own.compared.difference),
            *interval_cells(table, metric, own.compared.difference),
            p_value(own.compared.p),
            p_value(own.compared.holm),
            p_value(own.false_discovery),
            *(
                (_estimate(own.seeds.g_z, 1), _estimate(own.better.probability, 100))
                if own.seeds and own.better
                else ()
            ),
            *(p_value(getattr(own.seeds, name).p) if _can_find(own, name) else NONE for name in signs),
        )
        for own in differ
    ]
    heads = (
        "n",
        f"difference of {here.label}",
        *interval_heads(table, metric),
        p_head(table, metric),
        "Holm",
        "Benjamini-Hochberg",
    )
    heads += ("g_z", "probability of being better, %") if seeds else ()
    columns = (Column("better"), Column("than"), *(Column(head, "number") for head in heads))
    return Grid("", (*columns, *(Column(SIGNS[name], "number") for name in signs)), rows)


def _can_find(own: Pair, test: str) -> bool:
    """Whether a test of signs or ranks can reach a p below 0.05 with so many seeds."""
    return own.seeds is not None and getattr(own.seeds, test).smallest < ALPHA


def _named(table: Table, number: int) -> str:
    return f"{number} ({table.arms[number - 1].label})"


def _estimate(value: Estimate, factor: int) -> str:
    """`1.23 [0.45, 2.01]`, in percent without decimals."""
    if math.isnan(value.value):
        return NONE
    digits = 2 if factor == 1 else 0
    shown, low, high = (f"{factor * number:.{digits}f}" for number in (value.value, value.low, value.high))
    return shown if math.isnan(value.low) else f"{shown} [{low}, {high}]"


def _answers(table: Table, arms: Sequence[Arm], found: Sequence[Pair], here: Unit) -> tuple[str, ...]:
    """The chosen arm beside all others, where no panel before says so."""
    best = chosen(table)
    own = [each.compared for each in found if best in (each.compared.arm, each.compared.against)]
    own = [each for each in own if each.is_tested]
    if best is None or best == reference(table) or not own:
        return ()
    better = [each.against for each in own if each.differs and each.arm == best]
    worse = [each.arm for each in own if each.differs and each.against == best]
    alike = [number for each in own if not each.differs for number in (each.arm, each.against) if number != best]
    others = "the others" if len(arms) == len(table.arms) else f"the {len(arms) - 1} next to it"
    others += " that could be tested" if len(own) < len(arms) - 1 else ""
    said = [f"better than {_of(better, own, others)}"] if better else []
    said += [f"worse than {_of(worse, own, others)}"] if worse else []
    none = "any of " if len(alike) == len(own) > 1 else ""
    said += [f"not told apart from {none}{_of(alike, own, others)}"] if alike else []
    corrected = f"corrected for {plural(len(found), 'pair')}"
    return (f"Arm {best}, chosen by validation, is {listed(said)} by {here.name}, {corrected}.",)


def _of(numbers: Sequence[int], every: Sequence[Compared], others: str) -> str:
    """`arm 2`, `arms 2 and 3`, `9 arms`; `others` where it is all of several."""
    if len(numbers) == len(every) > 1:
        return others
    if len(numbers) > MOST_NAMED:
        return f"{len(numbers)} arms"
    return f"{'arm' if len(numbers) == 1 else 'arms'} {listed(map(str, sorted(numbers)))}"


def _note(table: Table, found: Sequence[Pair], here: Unit) -> str:
    word, differing = table.replicate, sum(own.compared.differs for own in found)
    left = f" The {ROWS} surest of {differing} pairs that differ are shown." if differing > ROWS else ""
    note = (
        f"Differences of {here.name}, the better arm less the other, paired by {listed(table.repeats)}; n counts the "
        f"{word}s that both have. Interval and p are as beside one arm. Holm (1979) keeps the chance of any false "
        "finding among all pairs at 5%, Benjamini and Hochberg (1995) the expected share of false ones among what is "
        f"found; what differs is by the first.{left}"
    )
    if word != "seed":
        return f"{note} Effect sizes and tests of signs and ranks are of seeds alone, and not given of folds and seeds."
    signs = (
        "Tests of signs and ranks are not corrected for the number of pairs."
        if any(_can_find(own, name) for own in found for name in SIGNS)
        else "Tests of signs and ranks need six seeds to reach 0.05; they stand in arms.json."
    )
    return (
        f"{note} g_z: the mean difference in its own standard deviations, without small-sample bias (Hedges 1981). "
        "Probability of being better: the share of seeds in which the first is the better one, ties counted half, with "
        f"an exact binomial interval; six wins of six are the fewest that leave out 50%. {signs} g_z, the "
        "probability and these tests are of seeds alone, on these examples."
    )
