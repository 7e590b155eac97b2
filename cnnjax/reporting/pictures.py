"""The pictures of a report, drawn with Matplotlib to PNG, independent of the user's Matplotlib settings."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnjax.reporting.directory import Table
from cnnjax.reporting.picture_arms import by_arm
from cnnjax.reporting.picture_cost import against_cost
from cnnjax.reporting.picture_curves import learning_curves
from cnnjax.reporting.picture_effects import by_axis
from cnnjax.reporting.statistics import measure

DPI = 200
SCREEN_DPI = 110

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#000000",
    "ytick.labelcolor": "#000000",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Picture:
    """A drawn picture: file `name` without suffix, `title`, `caption`, PNG bytes and its `width` on a page, in px."""

    name: str
    title: str
    caption: str
    png: bytes
    width: int


def draw(table: Table) -> dict[str, Picture]:
    """Every picture that the table gives reason for, by name; see `NAMES`."""
    drawn = {}
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # A value in a script that DejaVu Sans lacks shows as boxes; its text stands in the tables.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for name, (title, make) in _makers(table).items():
            made = make()
            if made is not None:
                figure, caption = made
                drawn[name] = Picture(name, title, caption, _png(figure), round(figure.get_figwidth() * SCREEN_DPI))
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


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
