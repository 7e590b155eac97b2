"""What results cost: against parameters and operations."""

from __future__ import annotations

from functools import partial

from cnnjax.documents.document import paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.notes import equal_costs
from cnnjax.reporting.picture_cost import COSTS, against_cost
from cnnjax.reporting.pictures import against_name, title_of
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table

WORDS = {"params": "parameters", "macs": "MACs"}


def cost_panel(table: Table) -> Finding | None:
    """A picture for each cost in which arms differ; None where arms are not compared."""
    compared = measure(table).compared
    if compared is None:
        return None
    kind = title_of(compared)
    drawn = [
        Sketch(against_name(compared, cost), f"{kind} against {WORDS[cost]}", partial(against_cost, table, cost=cost))
        for cost in COSTS
    ]
    return Finding("cost", f"{kind} against cost", [*drawn, *map(paragraph, equal_costs(table))])
