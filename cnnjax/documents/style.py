"""The one style of all figures: Matplotlib settings, colours, sizes. No display is needed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter

from cnnjax.visible import visible

DPI = 200
"""Dots an inch of a PNG."""
FONT = "DejaVu Sans"
INK, SOFT, BAND = "#222222", "#8a8a8a", "#f3f5f8"
"""Of text, of what is less important, and of stripes behind rows."""
# Okabe and Ito (2008), a palette that colour-blind readers can tell apart; without its yellow, too pale on white, and
# with its orange and its sky blue darkened, so that all have a contrast of 3 to white (WCAG 2.2, 1.4.11).
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B57D00", "#3A96CC", "#222222", "#7a7a7a")
ORDERED = 0.57
"""Where viridis ends for numbers: what follows has a contrast below 3 to white."""

SETTINGS: Mapping[str, Any] = {
    "font.family": FONT,
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
    "svg.hashsalt": "cnnjax",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def styled(**settings: Any) -> Iterator[None]:
    """`with styled():` figures are drawn in this style, whatever the user's Matplotlib settings.

    settings: more of Matplotlib's, `_` for `.`: `axes_grid_axis="x"`.
    """
    more = {name.replace("_", "."): value for name, value in settings.items()}
    with matplotlib.style.context(["default", {**SETTINGS, **more}]), warnings.catch_warnings():
        # A character that DejaVu Sans lacks shows as a box; the text stands in the tables too.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def encoded(figure: Figure, form: str, *, maker: str | None = None) -> bytes:
    """`figure` as the bytes of a "png", "pdf" or "svg" file, without a date: the same for the same figure.

    maker: the program that the file names as its maker; None names Matplotlib, and in a PNG nothing.
    """
    named: dict[str, Any] = {"Creator": maker} if maker else {}
    metadata = {
        "png": {"Software": maker},
        "pdf": {**named, "CreationDate": None},
        "svg": {**named, "Date": None},
    }[form]
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    _make_visible(figure)
    with _fonts_without_shaping() if form == "pdf" else nullcontext():
        figure.savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def _fonts_without_shaping() -> Iterator[None]:
    """The fonts that Matplotlib puts into a PDF are cut to what it draws, without tables that no viewer asks for.

    It places each glyph itself. Tables of how a text's glyphs are to be put together say nothing more there, and to cut
    them takes most of the time that a PDF takes.
    """
    from fontTools import subset

    before = subset.Options.__init__

    def options(self: subset.Options, **given: Any) -> None:
        before(self, **given)
        self.drop_tables += ["BASE", "GDEF", "GPOS", "GSUB"]

    subset.Options.__init__ = options
    try:
        yield
    finally:
        subset.Options.__init__ = before


def _seen(said: Any, value: float, place: float) -> str:
    return visible(said(value, place))


def _make_visible(figure: Figure) -> None:
    """Let the figure show characters that are not seen: fonts lack them, and an SVG ends at some."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        said = axis.get_major_formatter()
        if isinstance(said, FuncFormatter):  # Of labels that were given, not made of numbers.
            axis.set_major_formatter(partial(_seen, said))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(visible(text.get_text()))


@lru_cache(4096)
def text_width(text: str, *, size: float = 8, bold: bool = False) -> float:
    """The width of `text` in inches, at a font `size` in points."""
    if not text.strip():
        return 0.0
    font = FontProperties(family=FONT, weight="bold" if bold else None, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(visible(text), font, ismath=False)
    return float(width) / 72
