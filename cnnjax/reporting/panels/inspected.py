"""A look inside the networks: the pictures that `cnnjax inspect` made of trials."""

from __future__ import annotations

from cnnjax.documents.document import paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.inspected import inspected, shown
from cnnjax.reporting.panels.flips import flip_pictures
from cnnjax.reporting.study_table import Table


def inspected_panel(table: Table) -> Finding | None:
    """The pictures in the trials' folders, those of the chosen arm first, without those of examples that flip; None
    where there are none."""
    found, notes = inspected(table)
    if not found and not notes:
        return None
    fitting = shown(table)
    elsewhere = {each.name for each in flip_pictures(table)}
    own = [each for each in fitting.pictures if each.name not in elsewhere]
    drawn = [Sketch(each.name, each.title, lambda each=each: each) for each in own]
    data = {"trials": [{"trial": each.trial, "pictures": list(each.record.pictures)} for each in found]}
    return Finding("inspected", "Inside the networks", [*drawn, *map(paragraph, fitting.notes)], data=data)
