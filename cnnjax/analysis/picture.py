"""The costs of a network along its depth as a picture: parameters, MACs and activations, layer by layer.

Depth runs downwards and the three quantities stand side by side, so that the names of layers can be read. A network of
many layers is labelled by its stages or blocks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cnnjax.analysis.layers import Analysis, LayerRow
from cnnjax.documents.quantities import short, short_bytes
from cnnjax.documents.style import BAND, CATEGORIES, INK, SOFT, encoded, styled
from cnnjax.errors import ConfigError, RunError
from cnnjax.files import write_bytes

SUFFIXES = (".png", ".pdf", ".svg")
EACH = 45  # layers that can be labelled one by one
GROUPS = 60  # labels of blocks that can be read
LABEL = 0.125  # inches from one label to the next


class CostPanel(NamedTuple):
    """One of the pictures side by side. pale: the same quantity in training, drawn behind it."""

    title: str
    colour: str
    values: Sequence[int]
    pale: Sequence[int]
    text: Callable[[float], str]
    total: int


class LabelledLayers(NamedTuple):
    """Consecutive layers under one label, from `start` to before `end`."""

    label: str
    start: int
    end: int


def check_suffix(path: Path) -> None:
    """Raise ConfigError unless `path` ends in a format that can be drawn."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot {path}: must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def save(analysis: Analysis, path: Path, *, title: str) -> None:
    """Draw the picture into the file `path`, in the format of its suffix. Raises ConfigError and RunError."""
    check_suffix(path)
    content = drawn(analysis, title=title, form=path.suffix.lower()[1:])
    try:
        write_bytes(path, content)
    except RunError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise RunError(f"--plot {path}: it cannot be written: {reason}") from error


def drawn(analysis: Analysis, *, title: str, form: str) -> bytes:
    """The picture as the bytes of a png, pdf or svg file; the same for the same analysis."""
    with styled(axes_grid_axis="x"):
        return encoded(_figure(analysis, title), form)


def _figure(analysis: Analysis, title: str) -> Figure:
    layers = [layer for layer in analysis.layers if _costs(layer)]
    each = len(layers) <= EACH
    row = 0.19 if each else max(0.025, min(0.06, 9 / len(layers)))
    parts = parted(layers) if each else _readable(parted(layers), rows=math.ceil(LABEL / row))
    height = max(len(layers) * row, 0.6) + 1.0
    figure = Figure(figsize=(9.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, sharey=True, squeeze=False)[0]
    figure.suptitle(title, fontsize=9.5, color=INK, x=0.01, ha="left")
    for ax, panel in zip(axes, _panels(analysis, layers), strict=True):
        _draw(ax, panel, parts, numbered=each)
    _label(axes[0], layers, parts)
    return figure


def _panels(analysis: Analysis, layers: Sequence[LayerRow]) -> Iterator[CostPanel]:
    written = [layer.activation_bytes for layer in layers]
    trained = [layer.train_activation_bytes or layer.activation_bytes for layer in layers]
    params = [layer.params for layer in layers]
    yield CostPanel("parameters", CATEGORIES[0], params, params, short, analysis.params)
    macs = [layer.macs for layer in layers]
    yield CostPanel("MACs an image", CATEGORIES[1], macs, macs, short, analysis.macs)
    yield CostPanel("activations an image", CATEGORIES[2], written, trained, short_bytes, analysis.activation_bytes)


def _draw(ax: Axes, panel: CostPanel, parts: Sequence[LabelledLayers], *, numbered: bool) -> None:
    places = range(len(panel.values))
    largest = max([*panel.values, *panel.pale, 1])
    for part in parts[1::2] if not numbered else ():
        ax.axhspan(part.start - 0.5, part.end - 0.5, color=BAND, lw=0, zorder=0)
    thick = 0.72 if numbered else 1.0
    ax.barh(places, panel.pale, height=thick, color=panel.colour, alpha=0.3, lw=0)
    ax.barh(places, panel.values, height=thick, color=panel.colour, lw=0)
    ax.set_title(f"{panel.title}: {panel.text(panel.total)}", loc="left", color=INK)
    if any(b > a for a, b in zip(panel.values, panel.pale, strict=True)):
        ax.set_xlabel("pale: in training", loc="left", color=SOFT)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, largest * (1.22 if numbered else 1.04))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _rounded(panel.text(value))))
    if numbered:
        for place, value in zip(places, panel.pale, strict=True):
            ax.annotate(
                panel.text(value),
                (value, place),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
                color=INK if value else SOFT,
            )


def _rounded(text: str) -> str:
    """Without the zeros of a decimal fraction: "80.0 k" -> "80 k"."""
    return re.sub(r"(\.\d*?)0+(?= )", r"\1", text).replace(". ", " ")


def _label(ax: Axes, layers: Sequence[LayerRow], parts: Sequence[LabelledLayers]) -> None:
    ax.set_ylim(max(len(layers), 1) - 0.5, -0.5)
    ax.set_yticks([(part.start + part.end - 1) / 2 for part in parts], [part.label for part in parts])


def _costs(layer: LayerRow) -> bool:
    return any((layer.params, layer.macs, layer.activations, layer.train_activations))


# --- labels


def parted(layers: Sequence[LayerRow]) -> list[LabelledLayers]:
    """The layers under labels that can be read: one by one, by block, or by stage, whichever is the finest that can."""
    if len(layers) <= EACH:
        return [LabelledLayers(layer.path or layer.op, place, place + 1) for place, layer in enumerate(layers)]
    names = [layer.path.split(".")[0] or layer.op for layer in layers]
    blocks = _runs(names, names)
    return blocks if len(blocks) <= GROUPS else _runs(names, [re.sub(r"\d+$", "", name) for name in names])


def _readable(parts: Sequence[LabelledLayers], *, rows: int) -> list[LabelledLayers]:
    """With parts of fewer than `rows` layers joined to those before them, where these are as small."""
    joined: list[LabelledLayers] = []
    for part in parts:
        before = joined[-1] if joined else None
        if before and max(part.end - part.start, before.end - before.start) < rows:
            joined[-1] = LabelledLayers(f"{before.label}, {part.label}", before.start, part.end)
        else:
            joined.append(part)
    return joined


def _runs(names: Sequence[str], stages: Sequence[str]) -> list[LabelledLayers]:
    """Parts of layers with one stage, labelled by their name or "block1" to "block6" as "block1-6"."""
    parts, start = [], 0
    for stage, run in groupby(stages):
        end = start + len(list(run))
        first, last = names[start], names[end - 1]
        parts.append(LabelledLayers(first if first == last else f"{first}-{last.removeprefix(stage)}", start, end))
        start = end
    return parts
