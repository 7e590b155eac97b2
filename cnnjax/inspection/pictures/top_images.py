"""The images that activate units most, with the patch that they see."""

from __future__ import annotations

import numpy as np

from cnnjax.documents.style import CATEGORIES
from cnnjax.inspection.network import Layer, Window, spread
from cnnjax.inspection.pictures.drawing import Picture, plain, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.inspection.top_images import Top, patch, top_images
from cnnjax.study.montage import Mark, Panel, Strip, Tile

DEFAULT_LAYERS = 3


def picture(subject: Subject) -> Picture:
    """For each unit the images in order, the patch framed."""
    layers = subject.network.chosen(subject.options.layers, maps=False, most=DEFAULT_LAYERS)
    panels, numbers = [], {}
    for layer in layers:
        batches = subject.batches(f"top images of {layer.name}")
        found = top_images(subject.network, batches, layer.name, count=subject.options.count)
        units = spread(range(layer.units), subject.options.units)
        panels.append(_panel(subject, layer, found, units))
        numbers[layer.name] = {
            "units": units,
            "value": plain(found.value[units]),
            "index": plain(found.index[units]),
            "place": plain(found.place[units]),
            "receptive_field": None if layer.window is None else _window(layer.window),
        }
    notes = [
        f"of the {len(subject.part()):,} images of the {subject.options.part} part those with the largest activation, "
        "the largest first; framed is what the unit sees there, where that is not the whole image; a "
        "unit whose largest activation is 0 is never active, and shows the first ones"
    ]
    return tiled("Most activating images", notes, panels, part=subject.options.part, numbers={"layers": numbers})


def _window(window: Window) -> dict[str, list]:
    return {name: list(each) for name, each in zip(("size", "jump", "offset"), window, strict=True)}


def _panel(subject: Subject, layer: Layer, found: Top, units: list[int]) -> Panel:
    strips = []
    for unit in units:
        there = found.index[unit] >= 0
        images = subject.part().stacked(found.index[unit][there]) / subject.trained.resolved.maximum
        places = found.place[unit][there]
        tiles = [_framed(layer, image, place) for image, place in zip(images, places, strict=True)]
        strips.append(Strip(f"unit {unit}: {found.value[unit, 0]:.3g}", tiles))
    seen = "the whole image" if layer.window is None else "{}x{} pixels".format(*layer.window[0])
    return Panel(f"{layer.name} ({layer.kind}): {len(units)} of {layer.units} units, each sees {seen}", strips)


def _framed(layer: Layer, image: np.ndarray, place: np.ndarray) -> Tile:
    tile = visible(image.astype(np.float32))
    top, left, bottom, right = patch(layer, (int(place[0]), int(place[1])), image.shape)
    if (top, left, bottom, right) == (0, 0, *image.shape[:2]):
        return tile
    return Tile(tile.pixels, tile.colours, (Mark(((left, top), (right, bottom)), CATEGORIES[1]),))
