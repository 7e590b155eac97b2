"""Notes, documents and reports on the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cnnjax.cli.app import WIDE, err, out
from cnnjax.visible import in_json

if TYPE_CHECKING:
    from cnnjax.documents.document import Document
    from cnnjax.reporting.study_table import Table
    from cnnjax.study.plan import Plan

MOST_PRUNED = 6
"""Reasons, and arms of each, that a sweep names, where it pruned more."""


def note(message: str) -> None:
    err.print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print plain data as standard JSON, whose numbers are finite: what is no number is null."""
    typer.echo(in_json(json.dumps(_standard(value), allow_nan=False)))


def _standard(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _standard(each) for name, each in value.items()}
    return [_standard(each) for each in value] if isinstance(value, list | tuple) else value


def print_pruned(planned: Plan) -> None:
    """Say on standard error which arms a sweep does not train, and why."""
    from cnnjax.study.planned import pruned_lines

    said = [f"pruned{line}" for line in pruned_lines(planned.pruned, of=planned.arms, most=MOST_PRUNED)]
    for text in said:
        err.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_document(document: Document, form: str) -> None:
    from cnnjax.documents.formats import written
    from cnnjax.documents.terminal_text import terminal

    if form == "text":
        WIDE.print(terminal(document.blocks, WIDE.width))
    else:
        typer.echo(written(document, form), nl=False)


def print_report(folder: Path, *, to: Path | None = None, as_json: bool) -> Table:
    """Write a report, print it, and return what it is of."""
    from cnnjax.reporting import report as write_report
    from cnnjax.reporting import terminal_table
    from cnnjax.reporting.time_spent import time_spent_text

    summary = write_report(folder, to=to)
    if as_json:
        typer.echo(summary.json, nl=False)
    else:
        for sentence in (*summary.mixed, *summary.same):
            WIDE.print(sentence, style="bold red", markup=False, highlight=False)
        WIDE.print(terminal_table(summary.table))
        if spent := time_spent_text(summary.table):
            WIDE.print(f"time: {spent}", markup=False, highlight=False)
        out.print(f"report: {summary.page}", soft_wrap=True)
    return summary.table


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
