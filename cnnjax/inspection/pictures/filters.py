"""The first layer's filters as pictures."""

from __future__ import annotations

import numpy as np

from cnnjax.inspection.filters import first_filters
from cnnjax.inspection.network import spread
from cnnjax.inspection.pictures.drawing import Picture, signed, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.study.montage import Panel, Strip, Tile


def picture(subject: Subject) -> Picture:
    """Every filter, or evenly spread ones, on one scale: colours of three channels, else each channel for itself."""
    path, kernel = first_filters(subject.network)
    which = spread(range(len(kernel)), max(64, subject.options.units))
    most = float(np.abs(kernel).max())
    if kernel.shape[-1] == 3:
        tiles: list[Tile] = [visible(0.5 + kernel[unit] / (2 * most or 1)) for unit in which]
        scale = f"grey is 0, full and no brightness of a colour are {most:.3g} and {-most:.3g}"
    else:
        tiles = [signed(kernel[unit, ..., c], most) for unit in which for c in range(min(4, kernel.shape[-1]))]
        scale = f"blue {-most:.3g}, white 0, red {most:.3g}"
    shape = "x".join(map(str, kernel.shape[1:]))
    some = "" if len(which) == len(kernel) else f"; {len(which)} shown, evenly spread"
    notes = [f"{len(kernel)} filters of {shape}{some}; one scale for all: {scale}"]
    numbers = {"layer": path, "filters": list(which), "largest": most}
    return tiled(f"Filters of {path}", notes, [Panel("", [Strip("", tiles)])], numbers=numbers)
