"""What each axis does: its values compared at matched settings of the others, or the effects of a fraction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from cnnjax.documents.document import Block, Grid, paragraph
from cnnjax.reporting.compared import ALPHA
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.fraction_effects import fraction, fraction_grid, fraction_notes
from cnnjax.reporting.notes import by_seeds_said, effects_note, over_seeds, unmatched
from cnnjax.reporting.picture_effects import by_axis
from cnnjax.reporting.pictures import title_of
from cnnjax.reporting.statistics import effect_spreads, effects, measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import effects_grid
from cnnjax.reporting.units import Unit, p_said, plural, some, unit


def effects_panel(table: Table) -> Finding | None:
    """Main effects of the axes, then those of a fraction where the arms are one; None where arms are not compared."""
    compared = measure(table).compared
    if compared is None:
        return None
    drawn = Sketch("effects", f"{title_of(compared)} by the value of each axis", lambda: by_axis(table))
    blocks = [drawn, *_effects(table), *_fraction(table)]
    return Finding("effects", "What each axis does", blocks, answers=_answers(table))


def _answers(table: Table) -> tuple[str, ...]:
    """Which values differ from their references over several settings of the other axes; over a single one they are
    arms, which are compared elsewhere."""
    metric = measure(table).quote
    if metric is None or fraction(table) is not None:
        return ()
    found, here = effects(table, metric=metric), unit(table, metric)
    names = {axis.path: axis.name for axis in table.axes}
    tested = found[found["p"].notna()]
    if tested.empty or (tested["settings"] < 2).all():
        return ()
    corrected = "" if len(tested) == 1 else f", corrected for {len(tested)} comparisons"
    lead = f"By {here.name}, over matched settings of the other axes{corrected}"
    rows = sorted(tested.to_dict("records"), key=lambda row: row["holm"])
    differ = [row for row in rows if row["holm"] < ALPHA]
    if not differ:
        most = here.size(max(row["within"] for row in rows))
        none = f"no value is found to differ from its axis's reference; each, on its own, is within {most}"
        return (f"{lead}: {none}.{_by_seeds(table, rows, names, here)}",)
    shown = some([_said(row, names[row["axis"]], here, table.replicate) for row in differ])
    alike = len(rows) - len(differ)
    rest = f" {plural(alike, 'other value')} {'is' if alike == 1 else 'are'} not told apart." if alike else ""
    return (f"{lead}: {shown}.{rest}{_by_seeds(table, rows, names, here)}",)


def _by_seeds(table: Table, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], here: Unit) -> str:
    """Which values seeds alone tell from their reference, on these examples, where examples are too few; with a space
    before it."""
    alone = [row for row in rows if row["holm_of_seeds"] < ALPHA and not row["holm"] < ALPHA]
    return by_seeds_said(table, [_alone(row, names[row["axis"]], here) for row in alone])


def _alone(row: Mapping[str, Any], axis: str, here: Unit) -> str:
    _, change = effect_spreads(row)
    assert change is not None  # only differences have a p
    return f"{axis}={row['text']} differs from {row['reference']} by {over_seeds(change, row['holm_of_seeds'], here)}"


def _said(row: Mapping[str, Any], axis: str, here: Unit, replicate: str) -> str:
    _, change = effect_spreads(row)
    assert change is not None  # only differences have a p
    by = f"{here.size(change.mean, signed=True)} {here.interval(change)}"
    n = f"n={change.n} {replicate}s, {plural(row['settings'], 'setting')}"
    return f"{axis}={row['text']} differs from {row['reference']} by {by}, {n}, {p_said(row['holm'])}"


def _effects(table: Table) -> list[Block]:
    shown = measure(table).shown
    blocks = _titled(table, effects_grid)
    if fraction(table) is not None:
        # Its arms differ in several axes at once, so that only axes of more values have effects here.
        return [*blocks, *([paragraph(effects_note(table))] if blocks else [])]
    notes = [effects_note(table)] if blocks else []
    return [*blocks, *map(paragraph, [*notes, *unmatched(table, shown[-1])])]


def _fraction(table: Table) -> list[Block]:
    blocks = [] if fraction(table) is None else _titled(table, fraction_grid)
    return [*blocks, *map(paragraph, fraction_notes(table))]


def _titled(table: Table, grid_of: Callable[[Table, str], Grid]) -> list[Block]:
    """The grid of each metric under its title; those without rows are left out."""
    grids = [(f"Effects on {unit(table, name).label}", grid_of(table, name)) for name in measure(table).shown]
    return list(chain.from_iterable([paragraph(title), grid] for title, grid in grids if grid.rows))
