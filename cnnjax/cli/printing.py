"""Notes, documents and reports on the terminal."""

from __future__ import annotations

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


def print_report(folder: Path, *, as_json: bool) -> None:
    from cnnjax.reporting import report as write_report
    from cnnjax.reporting import terminal_table
    from cnnjax.reporting.time_spent import time_spent_text

    summary = write_report(folder)
    if as_json:
        typer.echo(summary.json, nl=False)
    else:
        for sentence in summary.mixed:
            out.print(sentence, style="bold red", markup=False, highlight=False, soft_wrap=True)
        WIDE.print(terminal_table(summary.table))
        if spent := time_spent_text(summary.table):
            out.print(f"time: {spent}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"report: {summary.page}", soft_wrap=True)
