"""A look inside the networks: the pictures that `cnnjax inspect` made of trials."""

from __future__ import annotations

from cnnjax.documents.document import paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.inspected import inspected, shown
from cnnjax.reporting.study_table import Table


def inspected_panel(table: Table) -> Finding | None:
    """The pictures in the trials' folders, those of the chosen arm first; None where there are none."""
    found, notes = inspected(table)
    if not found and not notes:
        return None
    fitting = shown(table)
    drawn = [Sketch(each.name, each.title, lambda each=each: each) for each in fitting.pictures]
    data = {"trials": [{"trial": own.trial, "pictures": list(own.record.pictures)} for own in found]}
    return Finding("inspected", "Inside the networks", [*drawn, *map(paragraph, fitting.notes)], data=data)
