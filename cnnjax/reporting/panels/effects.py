"""What each axis does: its values compared at matched settings of the others, or the effects of a fraction."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from cnnjax.documents.document import Block, Grid, paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.fraction_effects import fraction, fraction_grid, fraction_notes
from cnnjax.reporting.notes import effects_note, unmatched
from cnnjax.reporting.picture_effects import by_axis
from cnnjax.reporting.pictures import title_of
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import effects_grid
from cnnjax.reporting.units import unit


def effects_panel(table: Table) -> Finding | None:
    """Main effects of the axes, then those of a fraction where the arms are one; None where arms are not compared."""
    compared = measure(table).compared
    if compared is None:
        return None
    drawn = Sketch("effects", f"{title_of(compared)} by the value of each axis", lambda: by_axis(table))
    return Finding("effects", "What each axis does", [drawn, *_effects(table), *_fraction(table)])


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
