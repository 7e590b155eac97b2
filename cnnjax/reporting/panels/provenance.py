"""Where the finished trials come from."""

from __future__ import annotations

from cnnjax.reporting.finding import Finding
from cnnjax.reporting.provenance import provenance_grid
from cnnjax.reporting.study_table import Table


def provenance_panel(table: Table) -> Finding:
    """Code, versions, hardware, data and seconds."""
    return Finding("provenance", "Provenance", [provenance_grid(table)])
