"""Where the finished trials come from, and how to make them again."""

from __future__ import annotations

from cnnjax.documents.document import Remarks
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.provenance import provenance_grid, run_again
from cnnjax.reporting.study_table import Table


def provenance_panel(table: Table) -> Finding:
    """Code, versions, hardware, data and seconds; the command to run it again."""
    commands = run_again(table)
    blocks = [Remarks(tuple(commands), "To run it again, where the experiment file is")] if commands else []
    return Finding("provenance", "Provenance", [provenance_grid(table), *blocks])
