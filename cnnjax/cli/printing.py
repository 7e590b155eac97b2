"""Notes, documents and reports on the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cnnjax.cli.app import WIDE, err, out

if TYPE_CHECKING:
    from cnnjax.documents.document import Document


def note(message: str) -> None:
    err.print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_document(document: Document, form: str) -> None:
    from cnnjax.documents.formats import written
    from cnnjax.documents.terminal_text import terminal

    if form == "text":
        WIDE.print(terminal(document.blocks, WIDE.width))
    else:
        typer.echo(written(document, form), nl=False)


def print_report(folder: Path, *, to: Path | None = None, as_json: bool) -> None:
    from cnnjax.reporting import report as write_report
    from cnnjax.reporting import terminal_table
    from cnnjax.reporting.time_spent import time_spent_text

    summary = write_report(folder, to=to)
    if as_json:
        typer.echo(summary.json, nl=False)
    else:
        for sentence in summary.mixed:
            out.print(sentence, style="bold red", markup=False, highlight=False, soft_wrap=True)
        WIDE.print(terminal_table(summary.table))
        if spent := time_spent_text(summary.table):
            out.print(f"time: {spent}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"report: {summary.page}", soft_wrap=True)


def print_beside(one: Path, other: Path, *, to: Path | None, as_json: bool) -> None:
    from cnnjax.documents.document import Remarks
    from cnnjax.documents.terminal_text import terminal
    from cnnjax.reporting.beside.writing import side_by_side

    found = side_by_side(one, other, to=to)
    if as_json:
        typer.echo(found.json, nl=False)
        return
    blocks = [Remarks(tuple(found.findings.first), found.findings.title)]
    every = found.findings.every
    tables = [replace(grid, title=finding.title) for finding in every for grid in finding.grids]
    WIDE.print(terminal([*blocks, *tables], WIDE.width))
    if found.page is not None:
        out.print(f"report: {found.page}", soft_wrap=True)
