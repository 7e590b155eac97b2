"""Everything that a study's results say, and its pictures."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnjax.documents.document import Picture, Section
from cnnjax.documents.style import encoded, styled
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.headline import foremost, headline
from cnnjax.reporting.panels import PANELS
from cnnjax.reporting.provenance import settings
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural

SCREEN_DPI = 110
"""Pixels an inch on a page."""
MOST = 4
"""Sentences at the head of a page."""
FORMS = ("png", "svg", "pdf")
"""The forms of a picture, each a file."""


@dataclass(frozen=True)
class Findings:
    """What a report says, before it is a page, Markdown, LaTeX or JSON.

    title, question: its heading, and what was asked, which may be empty. opening, closing: the sentences before and
    after the findings' own answers. ahead: those of the opening without which no answer is to be read. every: the
    findings in reading order. pictures: those that there is reason for, by name; they are drawn with Matplotlib,
    independent of the user's settings. base: the settings that it ends with, as lines.
    """

    title: str
    question: str
    opening: Sequence[str]
    every: tuple[Finding, ...]
    pictures: Mapping[str, Picture]
    closing: Sequence[str] = ()
    ahead: Sequence[str] = ()
    base: Sequence[str] = ()

    @property
    def answers(self) -> list[str]:
        """What the findings say in a sentence, in reading order."""
        return [answer for finding in self.every for answer in finding.answers]

    @property
    def first(self) -> list[str]:
        """The sentences that stand before all else: `head`, then `more`."""
        return [*self.head, *self.more]

    @property
    def head(self) -> list[str]:
        """Those that a page shows at a glance: `ahead`, and the first answers, MOST in all, one answer at least."""
        return [*self.ahead, *self.answers[: max(MOST - len(self.ahead), 1)]]

    @property
    def more(self) -> list[str]:
        """The others."""
        rest = [sentence for sentence in self.opening if sentence not in self.ahead]
        return [*self.answers[len(self.head) - len(self.ahead) :], *rest, *self.closing]

    @property
    def sections(self) -> list[Section]:
        """The findings as sections; those with nothing in them are left out."""
        every = [finding.section(self.pictures) for finding in self.every]
        return [section for section in every if not section.is_empty]

    @property
    def data(self) -> dict[str, Mapping[str, Any]]:
        """The findings as plain JSON, by name: of those that say something in numbers."""
        return {finding.name: finding.data for finding in self.every if finding.data is not None}


def find(table: Table, *, draw: bool = True, forms: Sequence[str] = FORMS) -> Findings:
    """What the panels say of the table; without their pictures if not `draw`, else with these `forms` of them."""
    every = ask(PANELS, table)
    newest = f"This is of {plural(len(table.done), 'finished trial')}, the newest result written {table.last_result}."
    return Findings(
        title=table.name,
        question=table.question,
        opening=headline(table),
        ahead=foremost(table),
        every=every,
        pictures=drawn(every, forms) if draw else {},
        closing=[newest],
        base=settings(table),
    )


T = TypeVar("T")


def ask(panels: Iterable[Callable[[T], Finding | None]], of: T) -> tuple[Finding, ...]:
    """What those of the panels say that have something to say."""
    return tuple(finding for panel in panels if (finding := panel(of)) is not None)


def drawn(findings: Iterable[Finding], forms: Sequence[str] = FORMS) -> dict[str, Picture]:
    """The pictures of the findings by name, as files of these `forms`."""
    pictures = {}
    with styled(), _rarely_collected() as collect:
        for sketch in (sketch for finding in findings for sketch in finding.sketches):
            made = sketch.make()
            if isinstance(made, Picture):
                pictures[sketch.name] = made
            elif made is not None:
                # Its layout is computed once, not for each form. With "none" instead of None, Matplotlib would go
                # through the whole figure once more before it saves it.
                FigureCanvasAgg(made.figure)
                made.figure.draw_without_rendering()
                made.figure.set_layout_engine(None)
                width = round(made.figure.get_figwidth() * SCREEN_DPI)
                files = {form: encoded(made.figure, form) for form in forms}
                pictures[sketch.name] = Picture(sketch.name, sketch.title, made.caption, width, files, made.marks)
            del made
            collect()
    return pictures


@contextmanager
def _rarely_collected() -> Iterator[Callable[[], int]]:
    """Python looks for garbage when it is told to, by what this gives: the many objects of a figure are garbage all at
    once, and to look for it while they are made takes an eighth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield partial(gc.collect, 0)
    finally:
        if enabled:
            gc.enable()
