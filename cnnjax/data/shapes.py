"""Seeded images of circles, squares and triangles that overlap, with masks and boxes; no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax import box_masks
from cnnjax.config import later
from cnnjax.data.dataset import Dataset
from cnnjax.data.entries import padded_boxes
from cnnjax.data.examples import Examples
from cnnjax.data.source import Data

CLASSES = ("background", "circle", "square", "triangle")
BLOCK = 4
"""Pixels a side of the coarser grain of noise."""


class Shapes(Data):
    """`examples` + `test_examples` images [size, size, 3] of up to `objects` shapes each, made from `seed`.

    Each pixel's class is background, circle, square or triangle (`mask`); of what overlaps, the later shape is in
    front. A shape and the background differ little in brightness, not in texture, and every shape has the same outline,
    which is one pixel thin: what a pixel in the middle is can be told only from the outline around it, and where it
    ends only from the pixels there. So both a large receptive field and fine detail matter. Boxes of what is seen of
    each shape are entries too (`boxes`, `box_valid`, `box_label` by class id); a shape of which less than a tenth is
    seen has none.

    radius: least and greatest distance from a shape's middle to its outline's farthest points, in pixels. contrast:
    difference in brightness, of 0..1, between outline and surroundings; a shape's inside differs by a quarter of it.
    noise: standard deviation of each pixel's noise, of 0..1. masks: whether what is seen of each shape that has a box
    is an entry too (`box_mask`).

    size: pixels of an image's side.
    """

    size: int = Field(default=64, ge=16)
    objects: int = Field(default=4, ge=1)
    radius: tuple[float, float] = (8.0, 16.0)
    contrast: float = Field(default=0.4, gt=0, le=0.5)
    noise: float = Field(default=0.1, ge=0, le=1)
    examples: int = Field(default=512, ge=1)
    test_examples: int = Field(default=128, ge=1)
    seed: int = Field(default=0, ge=0)
    masks: bool = later(False)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        least, most = self.radius
        if not 2 <= least <= most:
            raise ValueError(f"radius = {self.radius}: give the least and the greatest, 2 or more")
        if 2 * most > self.size:
            raise ValueError(f"radius = {self.radius}: a shape of {2 * most:g} pixels does not fit into {self.size}")
        return self

    def read(self) -> Dataset:
        train, test = (self._part(count, part) for part, count in enumerate((self.examples, self.test_examples)))
        return Dataset("shapes", train, test, classes=CLASSES)

    def _part(self, count: int, part: int) -> Examples:
        images = np.empty((count, self.size, self.size, 3), np.uint8)
        masks = np.empty((count, self.size, self.size), np.uint8)
        boxes, labels = [], []
        of_boxes = np.zeros((count, self.objects, self.size, self.size) if self.masks else 0, bool)
        for index in range(count):
            # Each image has its own randomness, so that more images leave the first as they are.
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 2 * index + part]))
            drawn = [draw_shape(generator, self.size, self.radius) for _ in range(generator.integers(self.objects) + 1)]
            images[index], masks[index], seen = self._picture(generator, drawn)
            boxes.append([box_of(visible) for visible, _ in seen])
            labels.append([label for _, label in seen])
            if self.masks:
                of_boxes[index, : len(seen)] = [visible for visible, _ in seen]
        entries = padded_boxes(boxes, labels, most=self.objects)
        if self.masks:
            entries["box_mask"] = box_masks.packed(of_boxes)
        return Examples(images, mask=masks, **entries)

    def _picture(
        self, generator: np.random.Generator, drawn: list[Shape]
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, int]]]:
        """Image, mask, and of the shapes that are seen their pixels, bool [size, size], with labels."""
        size = self.size
        brightness = np.zeros((size, size), np.float32)
        front = np.full((size, size), -1)
        for number, shape in enumerate(drawn):
            front[shape.inside] = number
            brightness[shape.inside] = generator.choice((-0.25, 0.25)) * self.contrast
            brightness[shape.outline] = self.contrast
        mask = np.zeros((size, size), np.uint8)
        seen = []
        for number, shape in enumerate(drawn):
            visible = front == number
            mask[visible] = shape.label
            if visible.sum() >= 0.1 * shape.inside.sum():
                seen.append((visible, shape.label))
        cells = -(-size // BLOCK)
        grain = generator.standard_normal((cells, cells, 3), np.float32).repeat(BLOCK, 0).repeat(BLOCK, 1)[:size, :size]
        fine = generator.standard_normal((size, size, 3), np.float32)
        tint = generator.uniform(0.4, 0.6, 3).astype(np.float32)
        image = tint + brightness[..., None] + self.noise * (grain + fine) / np.sqrt(2, dtype=np.float32)
        return (255 * image).clip(0, 255).round().astype(np.uint8), mask, seen


@dataclass(frozen=True)
class Shape:
    """One shape. label: its class id. inside: bool [size, size]; outline: those of its pixels at its edge. area: of the
    exact shape, in pixels, where all of it lies within the image."""

    label: int
    inside: np.ndarray
    outline: np.ndarray
    area: float


def draw_shape(generator: np.random.Generator, size: int, radius: tuple[float, float]) -> Shape:
    """A circle, square or triangle (equilateral) of random size and place, turned at random, all of it in the image."""
    label = int(generator.integers(1, len(CLASSES)))
    reach = generator.uniform(*radius)
    x, y = generator.uniform(reach, size - reach, 2)
    angle = generator.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size].astype(np.float32) + 0.5
    # Corners lie on a circle of radius `reach`; how far the sides are from the middle follows from their number.
    corners = {1: 0, 2: 4, 3: 3}[label]
    if corners:
        turns = angle + 2 * np.pi * np.arange(corners) / corners
        distance = np.max([(columns - x) * np.cos(turn) + (rows - y) * np.sin(turn) for turn in turns], axis=0)
        edge = reach * np.cos(np.pi / corners)
        area = corners / 2 * reach**2 * np.sin(2 * np.pi / corners)
    else:
        distance, edge, area = np.hypot(columns - x, rows - y), reach, np.pi * reach**2
    inside = distance <= edge
    return Shape(label, inside, inside & (distance > edge - 1), float(area))


def box_of(pixels: np.ndarray) -> np.ndarray:
    """x_min, y_min, x_max, y_max, float32, of the pixels that are set in a bool [H, W]; at least one must be."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
