"""The arms: their results, parameters, operations and seconds."""

from __future__ import annotations

from cnnjax.documents.document import paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.notes import arms_note, value_notes, varied_note
from cnnjax.reporting.picture_arms import by_arm
from cnnjax.reporting.pictures import by_arm_name, title_of
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import arms_grid


def arms_panel(table: Table) -> Finding:
    """The table of all arms, how to read it, and a picture."""
    compared = measure(table).compared
    drawn = Sketch(by_arm_name(compared), f"{title_of(compared)} by arm", lambda: by_arm(table))
    notes = map(paragraph, [arms_note(table), varied_note(table), *value_notes(table)])
    return Finding("arms", "Arms", [arms_grid(table), *notes, *([] if compared is None else [drawn])])
