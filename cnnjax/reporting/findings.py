"""Everything that a study's results say, and its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cnnjax.documents.document import Picture, Section
from cnnjax.documents.style import encoded, styled
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.headline import headline
from cnnjax.reporting.panels import PANELS
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural

SCREEN_DPI = 110
"""Pixels an inch on a page."""
FORMS = ("png", "svg", "pdf")
"""The forms of a picture, each a file."""


@dataclass(frozen=True)
class Findings:
    """What a study says. every: the findings in reading order. pictures: those that the study gives reason for, by
    name; they are drawn with Matplotlib, independent of the user's settings."""

    table: Table
    every: tuple[Finding, ...]
    pictures: Mapping[str, Picture]

    @property
    def first(self) -> list[str]:
        """The sentences that stand before all else."""
        of = plural(len(self.table.done), "finished trial")
        answers = [answer for finding in self.every for answer in finding.answers]
        newest = f"This is of {of}, the newest result written {self.table.last_result}."
        return [*headline(self.table), *answers, newest]

    @property
    def sections(self) -> list[Section]:
        """The findings as sections; those with nothing in them are left out."""
        every = [finding.section(self.pictures) for finding in self.every]
        return [section for section in every if not section.is_empty]

    @property
    def data(self) -> dict[str, Mapping[str, Any]]:
        """The findings as plain JSON, by name: of those that say something in numbers."""
        return {finding.name: finding.data for finding in self.every if finding.data is not None}


def find(table: Table, *, draw: bool = True) -> Findings:
    """What the panels say of the table; without their pictures if not `draw`."""
    every = tuple(finding for panel in PANELS if (finding := panel(table)) is not None)
    sketches = [sketch for finding in every for sketch in finding.sketches] if draw else []
    return Findings(table, every, _drawn(sketches))


def _drawn(sketches: Iterable[Sketch]) -> dict[str, Picture]:
    drawn = {}
    with styled():
        for sketch in sketches:
            made = sketch.make()
            if made is not None:
                figure, caption = made
                width = round(figure.get_figwidth() * SCREEN_DPI)
                files = {form: encoded(figure, form) for form in FORMS}
                drawn[sketch.name] = Picture(sketch.name, sketch.title, caption, width, files)
    return drawn
