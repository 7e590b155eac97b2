"""The pictures of a report, drawn with Matplotlib to PNG, independent of the user's Matplotlib settings."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from cnnjax.documents.document import Picture
from cnnjax.documents.style import encoded, styled
from cnnjax.records.specification import BEFORE, Specification
from cnnjax.reporting.picture_arms import by_arm
from cnnjax.reporting.picture_cost import COSTS, against_cost
from cnnjax.reporting.picture_curves import learning_curves
from cnnjax.reporting.picture_effects import by_axis
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table

SCREEN_DPI = 110
"""Pixels an inch on a page."""


def draw(table: Table) -> dict[str, Picture]:
    """Every picture that the table gives reason for, by name; none where arms are not compared.

    Names are made of the metric's by which arms are compared: `loss_by_arm`, `mean_iou_vs_macs`.
    """
    drawn = {}
    with styled():
        for name, (title, make) in _makers(table).items():
            made = make()
            if made is not None:
                figure, caption = made
                width = round(figure.get_figwidth() * SCREEN_DPI)
                drawn[name] = Picture(name, title, caption, encoded(figure, "png"), width)
    return drawn


def _makers(table: Table) -> dict[str, tuple[str, Callable[[], tuple[Figure, str] | None]]]:
    compared = measure(table).compared
    if compared is None:
        return {}
    kind = title_of(compared)
    return {
        by_arm_name(compared): (f"{kind} by arm", lambda: by_arm(table)),
        EFFECTS: (f"{kind} by the value of each axis", lambda: by_axis(table)),
        against_name(compared, "params"): (f"{kind} against parameters", lambda: against_cost(table, cost="params")),
        against_name(compared, "macs"): (f"{kind} against MACs", lambda: against_cost(table, cost="macs")),
        CURVES: ("Learning curves", lambda: learning_curves(table)),
    }


EFFECTS, CURVES = "effects", "learning_curves"


def title_of(metric: Specification | None) -> str:
    """The metric at the beginning of a title: `Mean IoU`."""
    words = "result" if metric is None else metric.words
    return words[:1].upper() + words[1:]


def by_arm_name(metric: Specification | None) -> str:
    """The name of the picture of all arms, and of its file: `loss_by_arm`."""
    return f"{'result' if metric is None else metric.name}_by_arm"


def against_name(metric: Specification | None, cost: str) -> str:
    """The name of the picture against a cost, and of its file: `loss_vs_params`."""
    return f"{'result' if metric is None else metric.name}_vs_{cost}"


def every_name(table: Table) -> list[str]:
    """The names of all pictures that a report may draw, whichever of the known metrics it compares arms by."""
    known = (*table.specified.known, *BEFORE)
    return [
        EFFECTS,
        CURVES,
        *(name for each in known for name in (by_arm_name(each), *(against_name(each, c) for c in COSTS))),
    ]
