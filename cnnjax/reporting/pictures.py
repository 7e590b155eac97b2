"""The pictures of a report, drawn with Matplotlib to PNG, independent of the user's Matplotlib settings."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from cnnjax.documents.document import Picture
from cnnjax.documents.style import encoded, styled
from cnnjax.reporting.picture_arms import by_arm
from cnnjax.reporting.picture_cost import against_cost
from cnnjax.reporting.picture_curves import learning_curves
from cnnjax.reporting.picture_effects import by_axis
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table

SCREEN_DPI = 110
"""Pixels an inch on a page."""


def draw(table: Table) -> dict[str, Picture]:
    """Every picture that the table gives reason for, by name; see `NAMES`."""
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
    kind = measure(table).kind.capitalize()
    return {
        "accuracy_by_arm": (f"{kind} by arm", lambda: by_arm(table)),
        "effects": (f"{kind} by the value of each axis", lambda: by_axis(table)),
        "accuracy_vs_params": (f"{kind} against parameters", lambda: against_cost(table, cost="params")),
        "accuracy_vs_macs": (f"{kind} against MACs", lambda: against_cost(table, cost="macs")),
        "learning_curves": ("Learning curves", lambda: learning_curves(table)),
    }


NAMES = ("accuracy_by_arm", "effects", "accuracy_vs_params", "accuracy_vs_macs", "learning_curves")
