"""What belongs to images drawn over them: masks in colours, boxes as rectangles, keypoints as dots with their limbs."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np

from cnnjax.data import Dataset, packed_masks
from cnnjax.data.dataset_statistics import Statistics
from cnnjax.data.entries import Entry
from cnnjax.documents.style import CATEGORIES
from cnnjax.study.montage import Mark, Swatch, Tile

COVER = 0.45
"""How much of a pixel is the colour of its class."""

IGNORED = "#000000"
LIMB = "#ffffff"
GOLDEN = 0.618034


def colours_of(classes: int) -> tuple[str, ...]:
    """A colour for each class, in hex: those of figures first, then others far apart in hue."""
    more = (colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.75, 0.9) for number in range(classes - len(CATEGORIES)))
    return (*CATEGORIES[:classes], *("#" + "".join(f"{round(255 * part):02x}" for part in rgb) for rgb in more))


def drawn_over(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """The entries that are drawn over an image, by name."""
    return tuple(name for name, entry in entries.items() if entry.kind in ("mask", "masks", "boxes", "keypoints"))


def overlaid(
    images: np.ndarray, batch: Mapping[str, np.ndarray], dataset: Dataset, colours: Sequence[str]
) -> list[Tile]:
    """A tile for each image with what belongs to it.

    images: [N, H, W] or [N, H, W, 3] in 0..1. batch: entries [N, ...]; those that are missing are
    not drawn. colours: of the classes.
    """
    tiles = []
    for number, image in enumerate(images):
        example = {name: batch[name][number] for name in batch}
        pixels, marks = image, []
        for name in drawn_over(dataset.entries):
            if name not in example:
                continue
            kind = dataset.entries[name].kind
            if kind == "mask":
                pixels = _covered(pixels, example[name], colours)
            elif kind == "masks":
                pixels = _objects_covered(pixels, example[name], example, colours)
            elif kind == "boxes":
                marks += _boxes(name, example, colours)
            else:
                marks += _joints(example[name], dataset, colours)
        tiles.append(Tile(pixels, marks=tuple(marks)))
    return tiles


def _covered(image: np.ndarray, mask: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    from matplotlib.colors import to_rgb

    # What is none of the classes is ignored.
    table = np.array([*map(to_rgb, colours), to_rgb(IGNORED)])
    ids = np.where((mask >= 0) & (mask < len(colours)), mask, len(colours))
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    return (1 - COVER) * image + COVER * table[ids]


def _objects_covered(
    image: np.ndarray, bits: np.ndarray, example: Mapping[str, np.ndarray], colours: Sequence[str]
) -> np.ndarray:
    """The pixels of each object in the colour of its class, the later over the earlier, and over them all outlines."""
    from matplotlib.colors import to_rgb

    valid = example["box_valid"]
    labels = example.get("box_label", np.zeros(len(valid), int))
    plain = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    rows = zip(packed_masks.unpacked(bits, len(valid)), labels, valid, strict=True)
    objects = [(mask, np.array(to_rgb(colours[int(label) % len(colours)]))) for mask, label, there in rows if there]
    covered = plain.copy()
    for mask, colour in objects:
        covered[mask] = (1 - COVER) * plain[mask] + COVER * colour
    for mask, colour in objects:
        covered[mask & ~_inner(mask)] = colour
    return covered


def _inner(mask: np.ndarray) -> np.ndarray:
    """The pixels all of whose four neighbours are in the mask too."""
    framed = np.pad(mask, 1)
    return framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]


def _boxes(name: str, example: Mapping[str, np.ndarray], colours: Sequence[str]) -> list[Mark]:
    boxes, valid = example[name], example["box_valid"]
    # Without labels a box is of no class.
    labels = example.get("box_label")
    of_each = [IGNORED if labels is None else colours[int(labels[row]) % len(colours)] for row in range(len(boxes))]
    rows = zip(boxes, of_each, valid, strict=True)
    return [Mark(((left, top), (right, bottom)), colour) for (left, top, right, bottom), colour, there in rows if there]


def _joints(points: np.ndarray, dataset: Dataset, colours: Sequence[str]) -> list[Mark]:
    """A dot for each keypoint whose place is known, and the limbs between two such ones, which lie beneath.

    A dot has the colour of its joint, as classes have theirs.
    """
    limbs = () if dataset.skeleton is None else dataset.skeleton.limbs
    places = {number: (x, y) for number, (x, y, visible) in enumerate(points.tolist()) if visible > 0}
    lines = [(places[one], places[other]) for one, other in limbs if one in places and other in places]
    return [
        *(Mark(line, LIMB, line=True) for line in lines),
        *(Mark((place,), colours[number % len(colours)]) for number, place in places.items()),
    ]


def legend(dataset: Dataset, numbers: Statistics, colours: Sequence[str]) -> tuple[Swatch, ...]:
    """The colour of each class, with its share of the training part's pixels where they were counted."""
    counts = numbers.pixels.get("train", ())
    names = [*dataset.classes, *(["ignored"] if len(counts) > len(dataset.classes) else [])]
    shares = [f" {100 * count / max(sum(counts), 1):.1f}%" for count in counts] or [""] * len(names)
    used = (*colours[: len(dataset.classes)], IGNORED)[: len(names)]
    return tuple(Swatch(colour, f"{name}{share}") for colour, name, share in zip(used, names, shares, strict=True))
