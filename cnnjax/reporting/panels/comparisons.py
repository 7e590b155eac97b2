"""Which arms differ from the one that they are compared with, corrected for how many comparisons there are."""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.compared import ALPHA, Compared, compared
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.intervals import FEWEST
from cnnjax.reporting.notes import by_seeds_said, over_seeds, repeats
from cnnjax.reporting.statistics import chosen, measure, quantity_of, reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import difference_cells, difference_heads
from cnnjax.reporting.units import Unit, p_said, plural, some, unit


def comparisons_panel(table: Table) -> Finding | None:
    """All arms beside the base experiment's, or beside the chosen one where the base is no arm of the study.

    None where arms are not compared, or there is nothing to compare with.
    """
    by, against = measure(table), reference(table)
    if by.compared is None or by.quote is None or against is None or len(table.arms) < 2:
        return None
    here = unit(table, by.quote)
    found = compared(table, against, metric=by.quote)
    name = f"arm {against} ({table.arms[against - 1].label})"
    blocks: list[Block] = [_grid(table, found, by.quote), paragraph(_note(table, against, by.quote))]
    data = {"metric": by.quote, "reference": against, "alpha": ALPHA, "comparisons": [own.to_json() for own in found]}
    return Finding("comparisons", f"Beside {name}", blocks, answers=_answers(table, found, name, here), data=data)


def _grid(table: Table, found: Sequence[Compared], metric: str) -> Grid:
    here = unit(table, metric)
    heads = ("n", f"difference of {here.label}", *difference_heads(table, metric), "within", "could find")
    rows = [
        (
            str(own.arm),
            table.arms[own.arm - 1].label,
            str(own.difference.n),
            here.difference(own.difference),
            *difference_cells(table, metric, own.difference, p=(own.holm_of_seeds, own.p, own.holm)),
            here.number(own.within),
            here.number(own.detectable),
        )
        for own in found
    ]
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    return Grid("", columns, rows, keys=[str(own.arm) for own in found])


def _answers(table: Table, found: Sequence[Compared], name: str, here: Unit) -> tuple[str, ...]:
    tested = [own for own in found if own.is_tested]
    if not tested:
        return ()
    differ = sorted((own for own in tested if own.differs), key=lambda own: own.holm)
    alike = len(tested) - len(differ)
    corrected = "" if len(tested) == 1 else f", corrected for {len(tested)} comparisons"
    lead = f"Beside {name}, by {here.name}{corrected}"
    if not differ:
        most = here.size(max(own.within for own in tested))
        alone = _by_seeds(table, tested, here)
        return (f"{lead}: no arm is found to differ; each, on its own, is within {most} of it.{alone}",)
    shown = some([_said(table, own, here) for own in differ])
    rest = f" {plural(alike, 'other arm')} {'is' if alike == 1 else 'are'} not told apart from it." if alike else ""
    verb = "differs" if len(differ) == 1 else "differ"
    return (f"{lead}: {plural(len(differ), 'arm')} {verb}: {shown}.{rest}{_by_seeds(table, tested, here)}",)


def _by_seeds(table: Table, tested: Sequence[Compared], here: Unit) -> str:
    """Which arms seeds alone tell apart, on these examples, where examples are too few; with a space before it."""
    alone = sorted(
        (own for own in tested if own.differs_by_seeds and not own.differs), key=lambda own: own.holm_of_seeds
    )
    said = [f"arm {own.arm} differs by {over_seeds(own.difference, own.holm_of_seeds, here)}" for own in alone]
    return by_seeds_said(table, said)


def _said(table: Table, own: Compared, here: Unit) -> str:
    number, interval = here.size(own.difference.mean, signed=True), here.interval(own.difference)
    n = f"n={own.difference.n} common {table.replicate}s"
    label = table.arms[own.arm - 1].label
    return f"arm {own.arm} ({label}) by {number} {interval}, {n}, {p_said(own.holm)}"


def _note(table: Table, against: int, metric: str) -> str:
    word, here = table.replicate, unit(table, metric)
    which = "the arm that validation chooses" if against == chosen(table) else "the base experiment's arm"
    wider = (
        f", over {repeats(table)} on these examples, and widened for the choice of examples, as if arms disagreed on "
        "no more of them than make the difference"
        if quantity_of(table, metric).is_counted
        else ""
    )
    alone = (
        f" p over {repeats(table)}: Student's paired t test over {repeats(table)} alone, corrected in the same way: "
        f"whether other {word}s would say the same on these examples."
        if wider
        else ""
    )
    own, same = ("p over examples too", "wider") if wider else ("p", "same")
    return (
        f"Differences to arm {against}, {which}, paired by {word}, of {here.name}. Intervals are Student's t, each "
        f"on its own{wider}; {own} is that of the {same} interval: below 0.05 where it leaves 0 out. "
        "Corrected: after Holm (1979), for all arms of this table, so that in at most 5% of studies one of them "
        "differs by chance. Within: the smallest margin that the difference is shown to lie within, by two one-sided "
        "tests at 5%; that no difference is found shows no more than that. Could find: the smallest true difference "
        f"that is found four times out of five with so many {word}s and this spread, after the correction.{alone} "
        f"Below {FEWEST} common {word}s nothing is tested."
    )
