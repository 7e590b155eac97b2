"""Pictures of examples: rows of small images beside their labels, laid out in inches so that nothing overlaps."""

from __future__ import annotations

import bisect
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from cnnjax.documents.style import INK, SOFT, encoded, styled

PAGE = 10.0  # inches that a row may take
NARROWEST = 6.5
MARGIN, GAP, SPACE = 0.15, 0.04, 0.3
FONT = 7.5
LINE = 0.15
LONGEST = 1.7  # inches of a label
MAPS = {"grey": "gray", "values": "viridis", "hue": "hsv", "signed": "RdBu_r"}
NO_HUE = "#c8c8c8"


@dataclass(frozen=True)
class Mark:
    """Something over an image, in pixels from its upper left corner: a dot at (x, y), or a rectangle from (x, y) to
    (x, y), of which `line` leaves the diagonal alone."""

    points: tuple[tuple[float, float], ...]
    colour: str
    line: bool = False


@dataclass(frozen=True)
class Swatch:
    """A colour and what it stands for."""

    colour: str
    text: str


@dataclass(frozen=True)
class Tile:
    """pixels: [H, W] or [H, W, 3] in 0..1. colours: of [H, W], how they are read: "grey", "values", "hue", or
    "signed", of which 0.5 is nothing."""

    pixels: np.ndarray
    colours: str = "grey"
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Strip:
    """Tiles in a row, or in several where they are many, with a label before them."""

    label: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Panel:
    """Strips under a title. headings: of the first tiles of a row. apart: after so many tiles a row has a gap. legend:
    of colours, beneath the title."""

    title: str
    strips: Sequence[Strip]
    headings: tuple[str, ...] = ()
    apart: int = 0
    legend: tuple[Swatch, ...] = ()


@dataclass(frozen=True)
class _Grid:
    """How a panel is laid out: `columns` of strips, each `per_row` tiles wide and `rows` high; sizes in inches."""

    panel: Panel
    tile: tuple[float, float]
    label: float
    per_row: int
    rows: int
    columns: int

    @property
    def strip(self) -> tuple[float, float]:
        """(width, height) of a strip."""
        apart = SPACE / 2 if self.panel.apart else 0
        return self.label + self.per_row * (self.tile[0] + GAP) + apart, self.rows * (self.tile[1] + GAP)

    @property
    def down(self) -> int:
        """Strips one below the other."""
        return math.ceil(len(self.panel.strips) / self.columns)

    @property
    def head(self) -> float:
        """Inches from the panel's top to its first strip."""
        return 1.5 * LINE + len(_lines(self.panel.legend)) * LINE + (LINE if self.panel.headings else 0)

    @property
    def size(self) -> tuple[float, float]:
        """(width, height)."""
        width, height = self.strip
        return self.columns * (width + SPACE) - SPACE, self.head + self.down * height

    def places(self, index: int) -> tuple[float, float]:
        """Where a strip begins: (left, top) within the panel."""
        column, row = divmod(index, self.down)
        return column * (self.strip[0] + SPACE), self.head + row * self.strip[1]

    def across(self, position: int) -> float:
        """Where the tile at a position of a row begins, from the strip's left."""
        apart = SPACE / 2 if self.panel.apart and position >= self.panel.apart else 0
        return self.label + position * (self.tile[0] + GAP) + apart


def drawn(title: str, notes: Sequence[str], panels: Sequence[Panel], *, form: str, maker: str) -> bytes:
    """The picture as a png, pdf or svg file that says it was made by `maker`; the same bytes for the same input."""
    with styled():
        return encoded(_figure(title, notes, [_laid_out(panel) for panel in panels]), form, maker=maker)


def _laid_out(panel: Panel) -> _Grid:
    tile = _size(panel.strips[0].tiles[0])
    label = min(max(_inches(strip.label) for strip in panel.strips), LONGEST) + 0.08
    longest = max(len(strip.tiles) for strip in panel.strips)
    per_row = max(min(longest, int((PAGE - label) / (tile[0] + GAP))), panel.apart + 1)
    grid = _Grid(panel, tile, label, per_row, math.ceil(longest / per_row), 1)
    most = max(1, int((PAGE + SPACE) / (grid.strip[0] + SPACE)))
    choices = [replace(grid, columns=columns) for columns in range(1, most + 1)]
    # The fewest columns with which it is not taller than wide.
    return next((grid for grid in choices if grid.size[1] <= 1.1 * max(grid.size[0], NARROWEST)), choices[-1])


def _size(tile: Tile) -> tuple[float, float]:
    """(width, height) in inches: larger images are drawn larger, less than in proportion."""
    height, width = tile.pixels.shape[:2]
    longer = max(height, width)
    side = 0.5 * min(max(math.sqrt(longer / 32), 1.0), 2.4)
    return side * width / longer, side * height / longer


@lru_cache(maxsize=4096)
def _inches(text: str) -> float:
    if not text.strip():
        return 0.0
    if "\n" in text:
        return max(map(_inches, text.split("\n")))
    return TextPath((0, 0), text, prop=FontProperties(family="DejaVu Sans", size=FONT)).get_extents().x1 / 72


@lru_cache(maxsize=4096)
def _fitted(text: str) -> str:
    """`text`, the middle of a line left out where that is longer than a label may be."""
    if "\n" in text:
        return "\n".join(map(_fitted, text.split("\n")))
    if _inches(text) <= LONGEST:
        return text
    kept = bisect.bisect_right(range(1, len(text)), LONGEST - 0.1, key=lambda n: _inches(text[:n]))
    end = kept // 2
    return f"{text[: kept - end]}…{text[len(text) - end :]}"


def _lines(legend: tuple[Swatch, ...]) -> list[list[tuple[float, Swatch]]]:
    """The swatches in lines that are no wider than the narrowest picture, each with its inches from the left."""
    lines, right = [], PAGE
    for swatch in legend:
        width = LINE + _inches(_fitted(swatch.text)) + 0.12
        if right + width > NARROWEST:
            lines.append([])
            right = 0.0
        lines[-1].append((right, swatch))
        right += width
    return lines


def _draw_legend(ax: Axes, legend: tuple[Swatch, ...], top: float) -> None:
    for number, line in enumerate(_lines(legend)):
        for left, swatch in line:
            corner = (MARGIN + left, top + number * LINE + 0.02)
            ax.add_patch(Rectangle(corner, LINE - 0.06, LINE - 0.06, facecolor=swatch.colour, edgecolor="none"))
            place = (MARGIN + left + LINE, top + (number + 0.5) * LINE - 0.01)
            ax.text(*place, _fitted(swatch.text), fontsize=FONT, color=INK, va="center")


def _figure(title: str, notes: Sequence[str], grids: Sequence[_Grid]) -> Figure:
    width = max(NARROWEST, *(grid.size[0] for grid in grids), 0) + 2 * MARGIN
    # A character of the font is about 0.55 of its size wide.
    lines = [line for note in notes for line in textwrap.wrap(note, int((width - 2 * MARGIN) * 72 / (0.55 * FONT)))]
    head = MARGIN + 1.3 * LINE + len(lines) * LINE
    height = head + sum(grid.size[1] + SPACE for grid in grids)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    ax.text(MARGIN, MARGIN, title, fontsize=FONT + 2, color=INK, va="top")
    for number, line in enumerate(lines):
        ax.text(MARGIN, MARGIN + (1.3 + number) * LINE, line, fontsize=FONT, color=SOFT, va="top")
    top = head + SPACE / 2
    for grid in grids:
        _draw(ax, grid, top)
        top += grid.size[1] + SPACE
    return figure


def _draw(ax: Axes, grid: _Grid, top: float) -> None:
    panel = grid.panel
    ax.text(MARGIN, top, panel.title, fontsize=FONT + 0.5, color=INK, va="top")
    _draw_legend(ax, panel.legend, top + 1.2 * LINE)
    for column in range(grid.columns):
        left = MARGIN + column * (grid.strip[0] + SPACE)
        for position, heading in enumerate(panel.headings):
            place = (left + grid.across(position), top + grid.head - GAP)
            ax.text(*place, heading, fontsize=FONT - 0.5, color=SOFT, va="bottom")
    frames = []
    for index, strip in enumerate(panel.strips):
        left, down = grid.places(index)
        place = (MARGIN + left + grid.label - 0.08, top + down + grid.tile[1] / 2)
        ax.text(*place, _fitted(strip.label), fontsize=FONT, color=INK, ha="right", va="center")
        frames += [_show(ax, tile, box) for tile, box in _boxes(strip, grid, MARGIN + left, top + down)]
    ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor="#cccccc", linewidth=0.4), autolim=False)


def _boxes(strip: Strip, grid: _Grid, left: float, top: float) -> Iterator[tuple[Tile, tuple[float, float]]]:
    """Each tile with the upper left corner of its place."""
    for number, tile in enumerate(strip.tiles):
        row, position = divmod(number, grid.per_row)
        yield tile, (left + grid.across(position), top + row * (grid.tile[1] + GAP))


def _show(ax: Axes, tile: Tile, corner: tuple[float, float]) -> Rectangle:
    (width, height), (left, top) = _size(tile), corner
    colours = matplotlib.colormaps[MAPS[tile.colours]].with_extremes(bad=NO_HUE)
    box = (left, left + width, top + height, top)
    ax.imshow(tile.pixels, extent=box, cmap=colours, vmin=0, vmax=1, aspect="auto")
    scale = width / tile.pixels.shape[1]
    for mark in tile.marks:
        (x, y), *other = [(left + scale * x, top + scale * y) for x, y in mark.points]
        if other and mark.line:
            ax.plot([x, other[0][0]], [y, other[0][1]], color=mark.colour, linewidth=1)
        elif other:
            (right, bottom) = other[0]
            ax.add_patch(Rectangle((x, y), right - x, bottom - y, facecolor="none", edgecolor=mark.colour, linewidth=1))
        else:
            ax.plot([x], [y], marker="o", markersize=3, color=mark.colour, markeredgecolor="white", markeredgewidth=0.4)
    return Rectangle(corner, width, height)
