"""What the pictures of an inspection are made of: images, signed maps, charts; all in the style of all figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cnnjax.documents.style import INK, SOFT, encoded
from cnnjax.study.montage import Panel, Tile, drawn

MAKER = "cnnjax inspect"
SIZE = 7.5
"""Of notes, in points."""


@dataclass(frozen=True)
class Picture:
    """A picture, png bytes, with what stands over it and the numbers that it shows."""

    title: str
    png: bytes
    notes: tuple[str, ...] = ()
    part: str | None = None
    images: tuple[int, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


def visible(image: np.ndarray) -> Tile:
    """An image [H, W, C] in 0..1 as it can be seen: in colour with three channels, else the mean of all in grey."""
    clipped = np.clip(image, 0, 1)
    return Tile(clipped) if image.shape[-1] == 3 else Tile(clipped.mean(-1))


def signed(values: np.ndarray, most: float | None = None) -> Tile:
    """[H, W], blue below 0, white at 0 and red above, up to `most` either way; None: up to its own largest."""
    scale = float(np.abs(values).max()) if most is None else most
    return Tile(np.clip(0.5 + values / (2 * scale), 0, 1) if scale > 0 else np.full(values.shape, 0.5), "signed")


def heat(values: np.ndarray, low: float, high: float) -> Tile:
    """[H, W], dark at `low` and bright at `high`."""
    return Tile(np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape), "values")


def tiled(title: str, notes: Sequence[str], panels: Sequence[Panel], **facts: Any) -> Picture:
    """Rows of small images. facts: fields of the picture."""
    return Picture(title, drawn(title, notes, panels, form="png", maker=MAKER), tuple(notes), **facts)


def charted(title: str, notes: Sequence[str], figure: Figure, **facts: Any) -> Picture:
    """A chart, under its title. The figure has constrained layout; call within `styled()`."""
    figure.suptitle(title, fontsize=9.5, color=INK, x=0.01, ha="left")
    # A character of the font is about 0.55 of its size wide.
    width = int((figure.get_size_inches()[0] - 0.2) * 72 / (0.55 * SIZE))
    lines = [line for note in notes for line in textwrap.wrap(note, width)]
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=SIZE, color=SOFT, x=0.01, ha="left")
    return Picture(title, encoded(figure, "png", maker=MAKER), tuple(notes), **facts)


def in_counts(ax: Axes) -> None:
    """The upward axis as counts on a logarithmic scale that has a 0."""
    ax.set_yscale("symlog", linthresh=1)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def plain(values: Any) -> Any:
    """An array as lists, with None for what is not finite."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        filled: Any = array.astype(object)
        filled[~np.isfinite(array)] = None
        return filled.tolist()
    return array.tolist()
