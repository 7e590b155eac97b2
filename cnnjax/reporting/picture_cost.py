"""Result against cost on a logarithmic axis: every arm with its interval and its label, and the front of the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.style import CATEGORIES, INK, SOFT, text_width
from cnnjax.reporting.costs import ENERGY, MEMORY, SECONDS, CostFront, costs_of, front_of
from cnnjax.reporting.drawing import FEW, MARKERS, MEAN, colours, draw_interval, limits, log_ticks
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.notes import repeats, survivors_note
from cnnjax.reporting.statistics import arms, measure, spread_of
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import unit

AXES = {
    "params": "parameters",
    "macs": "MACs (one forward pass of one example)",
    MEMORY: "bytes that a training step takes on each device",
    SECONDS: "seconds of training steps, mean over trials",
    ENERGY: "joules of training steps, mean over trials",
}
NAMED, NUMBERED = 16, 100
HALO = {"boxstyle": "square,pad=0", "facecolor": "white", "alpha": 0.75, "lw": 0}
CAPTION = (
    "Mean over {word}s with its 95% interval over {repeats}; {labels}. One or two {few} have no interval, "
    "and a hollow marker is a single {word}.{survivors}{front} Arms of nearly equal cost are set side by side. The "
    "vertical axis does not start at zero."
)

FRONT = " The dashed line is the front of arms whose {word}s have all finished: the best mean for at most that cost."
DASHED: dict[str, Any] = {"ls": (0, (4, 2)), "lw": 1.1, "color": SOFT}


@dataclass(frozen=True)
class Point:
    """An arm in the picture."""

    arm: Arm
    cost: float
    result: Spread
    colour: str
    marker: str


def against_cost(table: Table, *, cost: str) -> Drawing | None:
    """Mean result against `cost` (of `costs.COSTS`); None where fewer than two costs are known."""
    metric = measure(table).quote
    if metric is None:
        return None
    here = unit(table, metric)
    looks = _looks(table)
    points = _points(table, looks, metric=metric, cost=cost, factor=here.factor)
    if len({point.cost for point in points}) < 2:
        return None
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    log_ticks(ax, [point.cost for point in points])
    results = [point.result for point in points]
    ax.set_ylim(*limits([result.mean for result in results], results, percent=here.is_percent))
    ax.set_xlabel(f"{AXES[cost]}, logarithmic")
    ax.set_ylabel(here.axis)
    found = front_of(table, cost)
    on_front = found is not None and len(found.members) > 1
    _legend(figure, looks, on_front=on_front)
    figure.draw_without_rendering()
    places = _side_by_side(ax, points)
    marks = Marks()
    if found is not None and on_front:
        _draw_front(ax, points, found)
    for point, x in zip(points, places, strict=True):
        share = found.shares.get(point.arm.number) if found is not None else None
        says = "mean" if share is None else f"mean, on the front in {share:.0%} of resamples"
        marks.add(_draw(ax, point, x), point.arm, metric, says)
    names = [_name(point.arm) for point in points]
    named = len(points) <= NAMED and all(len(name) <= 24 for name in names)
    if len(points) <= NUMBERED:
        texts = names if named else [str(point.arm.number) for point in points]
        for point, label in zip(points, _label(ax, points, places, texts), strict=True):
            marks.add(label, point.arm, "label")
    labels = (
        f"labels give {' · '.join(axis.name for axis in table.axes)}" if named else "labels number the table's arms"
    )
    labels = labels if len(points) <= NUMBERED else "too many arms to label"
    few = " or ".join(f"{word}s" for word in table.repeats)
    said = {"repeats": repeats(table), "survivors": survivors_note(table), "word": table.replicate, "few": few}
    said["front"] = FRONT.format(word=table.replicate) if on_front else ""
    return Drawing(figure, CAPTION.format(labels=labels, **said), marks)


def _looks(table: Table) -> list[Axis]:
    """The axes shown by colour and by marker: the first two that take few values."""
    return [axis for axis in table.axes if len(axis.values) <= FEW][:2]


def _points(table: Table, looks: Sequence[Axis], *, metric: str, cost: str, factor: float) -> list[Point]:
    frame, costs, points = arms(table), costs_of(table, cost), []
    for arm in table.arms:
        found = spread_of(frame, arm.number, metric).over_seeds
        if found.n and arm.number in costs:
            points.append(Point(arm, costs[arm.number], found.scaled(factor), *_look(arm, looks)))
    return points


def _look(arm: Arm, looks: Sequence[Axis]) -> tuple[str, str]:
    places = [axis.position(arm.values[axis.path]) for axis in looks]
    colour = colours(looks[0])[places[0]] if places else CATEGORIES[0]
    return colour, MARKERS[places[1]] if len(places) > 1 else MARKERS[0]


def _side_by_side(ax: Axes, points: Sequence[Point], *, close: float = 5, apart: float = 8) -> list[float]:
    """The x of each point; points closer than `close` pixels are set `apart` pixels from each other."""
    pixels = ax.transData.transform([(point.cost, point.result.mean) for point in points])[:, 0]
    order = sorted(range(len(points)), key=lambda n: (pixels[n], n))
    groups: list[list[int]] = []
    for n in order:
        near = bool(groups) and pixels[n] - pixels[groups[-1][-1]] < close
        groups[-1].append(n) if near else groups.append([n])
    for group in groups:
        centre = float(np.mean(pixels[group]))
        for place, n in enumerate(sorted(group)):
            pixels[n] = centre + (place - (len(group) - 1) / 2) * apart
    return ax.transData.inverted().transform([(x, 0) for x in pixels])[:, 0].tolist()


def _draw(ax: Axes, point: Point, x: float) -> list[Artist]:
    drawn = draw_interval(ax, x, point.result, vertical=True, colour=point.colour, width=1.0)
    fill = point.colour if point.result.n > 1 else "white"
    return [*drawn, *ax.plot(x, point.result.mean, point.marker, ms=5.5, mfc=fill, mec=point.colour, mew=1, zorder=4)]


def _draw_front(ax: Axes, points: Sequence[Point], found: CostFront) -> None:
    """A line in steps through the arms on the front, on to the end of the axis."""
    spots = {point.arm.number: (point.cost, point.result.mean) for point in points}
    across, up = zip(*(spots[number] for number in found.members), strict=True)
    ax.plot([*across, ax.get_xlim()[1]], [*up, up[-1]], drawstyle="steps-post", zorder=1, **DASHED)


def _legend(figure: Figure, looks: Sequence[Axis], *, on_front: bool) -> None:
    handles = []
    for axis, look in zip(looks, ("colour", "marker"), strict=False):
        handles.append(Line2D([], [], ls="", label=axis.name))
        for position, text in enumerate(axis.texts):
            shape = MARKERS[position] if look == "marker" else MARKERS[0]
            shade = colours(axis)[position] if look == "colour" else SOFT
            handles.append(Line2D([], [], ls="", marker=shape, ms=5.5, color=shade, label=abbreviate(text, 24)))
    handles.append(Line2D([], [], ls="-", lw=1, color=MEAN if not looks else SOFT, label="95% interval"))
    handles += [Line2D([], [], label="front", **DASHED)] if on_front else []
    legend = figure.legend(handles=handles, loc="outside right upper", handletextpad=0.4, handlelength=1.4)
    for text in legend.get_texts():
        text.set_fontweight("bold" if text.get_text() in {axis.name for axis in looks} else "normal")


def _name(arm: Arm) -> str:
    return " · ".join(arm.texts.values())


def _label(ax: Axes, points: Sequence[Point], places: Sequence[float], texts: Sequence[str]) -> list[Artist]:
    """Labels beside their points, each at the nearest place where it hides nothing."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    scale = figure.dpi / 72  # pixels of a point
    spots = ax.transData.transform([(x, point.result.mean) for x, point in zip(places, points, strict=True)]) / scale
    window = np.asarray(ax.get_window_extent().extents) / scale
    stems = _stems(ax, points, spots, scale)
    taken, drawn = [*_marker_boxes(spots)], []
    for (x, y), stem, place, point, text in zip(spots, stems, places, points, texts, strict=True):
        width, height = text_width(text, size=7) * 72 + 1, 8.0
        boxes = _candidates(x, y, width, height, stem)
        costs = _costs(np.array(boxes), (x, y), np.array(taken), np.array(stems), window)
        box = boxes[int(np.argmin(costs))]
        taken.append(box)
        ends = abs(box[0] + box[2] - 2 * x) < 2 and _apart(box, stem) < 3
        far = not ends and _apart(box, (x - 3.5, y - 3.5, x + 3.5, y + 3.5)) > 8
        label = ax.annotate(
            text,
            (place, point.result.mean),
            ((box[0] + box[2]) / 2 - x, (box[1] + box[3]) / 2 - y),
            textcoords="offset points",
            ha="center",
            va="center",
            size=7,
            color=INK,
            zorder=5,
            bbox=HALO,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": SOFT, "shrinkA": 0, "shrinkB": 4} if far else None,
        )
        # It was placed within the axes, whose size it is not to change.
        label.set_in_layout(False)
        drawn.append(label)
    return drawn


Box = tuple[float, float, float, float]


def _candidates(x: float, y: float, width: float, height: float, stem: Box) -> list[Box]:
    """Boxes around a point and at the ends of its interval; left, bottom, right, top in points."""
    ends = (stem[1] - 1 - height, stem[3] + 1)
    boxes: list[Box] = [(x - width / 2, bottom, x + width / 2, bottom + height) for bottom in ends]
    for distance, (right, up) in product((5, 9, 14, 20, 28, 38, 50), product((1, -1, 0), (0, 1, -1))):
        if right or up:
            reach = distance / np.hypot(right, up)
            centre = (x + right * (reach + width / 2), y + up * (reach + height / 2 - 2 * bool(right)))
            boxes.append((centre[0] - width / 2, centre[1] - height / 2, centre[0] + width / 2, centre[1] + height / 2))
    return boxes


def _costs(
    boxes: np.ndarray, point: tuple[float, float], taken: np.ndarray, stems: np.ndarray, window: np.ndarray
) -> np.ndarray:
    """How bad each place [places, 4] is: whether it leaves the axes, the area of markers and labels that it hides, then
    how far it is; a stem that it crosses, still seen above and below, counts as some more points away."""
    outside = (boxes[:, :2] < window[:2]).any(axis=1) | (boxes[:, 2:] > window[2:]).any(axis=1)
    distance = np.hypot(*np.maximum(np.maximum(boxes[:, :2] - point, point - boxes[:, 2:]), 0).T)
    return outside * 10000 + _hidden(boxes, taken) * 1000 + _hidden(boxes, stems) * 0.7 + distance


def _hidden(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area of `others` [many, 4] that each of the boxes hides."""
    corners = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.clip(corners[1] - corners[0], 0, None).prod(axis=2).sum(axis=1)


def _marker_boxes(spots: np.ndarray) -> list[Box]:
    return [(x - 3.5, y - 3.5, x + 3.5, y + 3.5) for x, y in spots]


def _stems(ax: Axes, points: Sequence[Point], spots: np.ndarray, scale: float) -> list[Box]:
    """The box of each marker with its interval, in points."""
    boxes = []
    for (x, y), point in zip(spots, points, strict=True):
        bottom, top = y, y
        if point.result.has_interval:
            ends = np.clip([point.result.low, point.result.high], *ax.get_ylim())
            bottom, top = ax.transData.transform([(1, end) for end in ends])[:, 1] / scale
        boxes.append((x - 1, min(bottom, y - 3.5), x + 1, max(top, y + 3.5)))
    return boxes


def _apart(one: Box, other: Box) -> float:
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    return float(np.hypot(across, max(one[1] - other[3], other[1] - one[3], 0.0)))
