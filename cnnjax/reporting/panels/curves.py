"""How training went: curves over epochs."""

from __future__ import annotations

from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.picture_curves import learning_curves
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table


def curves_panel(table: Table) -> Finding | None:
    """Learning curves of the arms; None where arms are not compared."""
    if measure(table).compared is None:
        return None
    drawn = [
        Sketch("learning_curves", "Learning curves: means", lambda: learning_curves(table)),
        Sketch("learning_curves_median", "Learning curves: medians", lambda: learning_curves(table, middle="median")),
    ]
    return Finding("curves", "Learning curves", drawn)
