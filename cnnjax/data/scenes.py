"""Seeded images of coloured shapes beside, above and below each other, with sentences that say so; no download."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples
from cnnjax.data.sentences import END, sentence_rows
from cnnjax.data.source import Data

COLOURS = {"red": (0.9, 0.15, 0.15), "green": (0.15, 0.75, 0.2), "blue": (0.2, 0.3, 0.95), "yellow": (0.95, 0.85, 0.2)}
SHAPES = ("circle", "square", "triangle")
RELATIONS = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
"""What one of two shapes is of the other, and the other of it."""
VOCABULARY = (END, "a", *COLOURS, *SHAPES, "left", "right", "of", "above", "below")
"""Words by id."""
LONGEST = 8
"""Words of the longest sentence: a red circle left of a blue square."""


class Thing(NamedTuple):
    """A shape by name, its colour by name, its middle in pixels, and its reach: half of its height and width."""

    shape: str
    colour: str
    x: float
    y: float
    reach: float

    @property
    def words(self) -> str:
        return f"a {self.colour} {self.shape}"


class Scenes(Data):
    """`examples` + `test_examples` images [size, size, 3] of one or two coloured shapes, made from `seed`.

    Each has sentences (`words`, int32 [references, 8], ids of the data's `classes`) by a small grammar:

        sentence = thing | thing relation thing      thing = "a" colour shape
        relation = "left of" | "right of" | "above" | "below"

    Two shapes differ in colour or kind, do not touch, and are farther apart, from middle to middle, along the axis that
    the relation names than along the other one, by `margin` of the image's side at least. The first sentence begins
    with the thing whose colour is first in the vocabulary, then whose shape is, wherever it stands, so that an image
    has one first sentence; with `references=2` the second says the same from the other thing, and of one shape there
    is none. What moves pixels would make sentences wrong, and is refused.

    alone: share of images with one shape. radius: least and greatest half height of a shape, in pixels. noise: standard
    deviation of each pixel's noise, of 0..1.

    size: pixels of an image's side. references: sentences of an image.
    """

    size: int = Field(default=32, ge=16)
    radius: tuple[float, float] = (3.0, 5.0)
    alone: float = Field(default=0.2, ge=0, le=1)
    margin: float = Field(default=0.1, ge=0, le=0.3)
    noise: float = Field(default=0.05, ge=0, le=1)
    references: Literal[1, 2] = 1
    examples: int = Field(default=2048, ge=1)
    test_examples: int = Field(default=512, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _two_fit(self) -> Self:
        least, most = self.radius
        if not 2 <= least <= most:
            raise ValueError(f"radius = {self.radius}: give the least and the greatest, 2 or more")
        if 6 * most > self.size:
            raise ValueError(
                f"radius = {self.radius}: two shapes side by side need three times their height, {6 * most:g} pixels; "
                f"size = {self.size}"
            )
        return self

    def read(self) -> Dataset:
        train, test = (self._part(count, part) for part, count in enumerate((self.examples, self.test_examples)))
        return Dataset("scenes", train, test, classes=VOCABULARY, labels_places=True)

    def _part(self, count: int, part: int) -> Examples:
        images = np.empty((count, self.size, self.size, 3), np.uint8)
        texts = []
        for index in range(count):
            # Each image has its own randomness, so that more images leave the first as they are.
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 2 * index + part]))
            things = self.things(generator)
            images[index] = self._picture(generator, things)
            texts.append(sentences(things)[: self.references])
        return Examples(images, words=sentence_rows(texts, VOCABULARY, longest=LONGEST, most=self.references))

    def things(self, generator: np.random.Generator) -> list[Thing]:
        """One or two, in the order in which the first sentence names them."""
        single = generator.uniform() < self.alone
        while True:
            drawn = [self._thing(generator) for _ in range(1 if single else 2)]
            if single:
                return drawn
            one, other = sorted(drawn, key=lambda each: (VOCABULARY.index(each.colour), SHAPES.index(each.shape)))
            across, down = abs(one.x - other.x), abs(one.y - other.y)
            apart = max(across, down) > one.reach + other.reach + 1
            clear = abs(across - down) >= self.margin * self.size
            if one.words != other.words and apart and clear:
                return [one, other]

    def _thing(self, generator: np.random.Generator) -> Thing:
        reach = generator.uniform(*self.radius)
        x, y = generator.uniform(reach, self.size - reach, 2)
        colour = list(COLOURS)[generator.integers(len(COLOURS))]
        return Thing(SHAPES[generator.integers(len(SHAPES))], colour, float(x), float(y), float(reach))

    def _picture(self, generator: np.random.Generator, things: list[Thing]) -> np.ndarray:
        image = np.full((self.size, self.size, 3), generator.uniform(0.3, 0.6), np.float32)
        for thing in things:
            image[inside(thing, self.size)] = COLOURS[thing.colour]
        image += self.noise * generator.standard_normal(image.shape, np.float32)
        return (255 * image).clip(0, 255).round().astype(np.uint8)


def inside(thing: Thing, size: int) -> np.ndarray:
    """The pixels of a shape, bool [size, size]: a circle, an upright square, or a triangle with its point above."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    across, down = np.abs(columns - thing.x), rows - thing.y
    if thing.shape == "circle":
        return np.hypot(across, down) <= thing.reach
    # A square of the circle's height; a triangle is as wide at its foot, and a point at its top.
    widths = thing.reach if thing.shape == "square" else (down + thing.reach) / 2
    return (np.abs(down) <= thing.reach) & (across <= widths)


def sentences(things: list[Thing]) -> list[str]:
    """What is true of one or two things, in the order in which they are given first."""
    if len(things) == 1:
        return [things[0].words]
    one, other = things
    if abs(one.x - other.x) > abs(one.y - other.y):
        relation = "left of" if one.x < other.x else "right of"
    else:
        relation = "above" if one.y < other.y else "below"
    return [f"{one.words} {relation} {other.words}", f"{other.words} {RELATIONS[relation]} {one.words}"]
