"""What has no result: arms pruned before training, and trials that failed."""

from __future__ import annotations

from cnnjax.reporting.finding import Finding
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import failed_grid, pruned_grid


def pruned_panel(table: Table) -> Finding:
    """The arms rejected before training, with the arithmetic."""
    return Finding("pruned", "Pruned before training", [pruned_grid(table)])


def failed_panel(table: Table) -> Finding:
    """The trials that failed, with what they said."""
    return Finding("failed", "Failed trials", [failed_grid(table)])
