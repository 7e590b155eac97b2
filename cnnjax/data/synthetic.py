"""Seeded images of any size, for benchmarks and dry runs: each class is a pattern under noise."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples
from cnnjax.data.source import Data
from cnnjax.documents.quantities import short_bytes
from cnnjax.errors import ConfigError
from cnnjax.machine import physical_memory

LABEL = 8 + 4
"""Bytes of a label, while it is made."""

PATTERN = 2 * 8
"""Bytes of a number of a class's pattern, which is there once more while it is enlarged."""


class Synthetic(Data):
    """`examples` + `test_examples` images [height, width, channels] of `classes` classes, made from `seed`.

    A class is one random low-resolution pattern; `noise` is the share of each pixel that is noise (0..1). So a
    network can learn it, and faster the less noise there is.

    height, width: of an image, in pixels. channels: of an image.
    """

    height: int = Field(default=32, ge=1)
    width: int = Field(default=32, ge=1)
    channels: int = Field(default=3, ge=1)
    classes: int = Field(default=10, ge=1)
    examples: int = Field(default=1024, ge=1)
    test_examples: int = Field(default=256, ge=1)
    noise: float = Field(default=0.5, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    def read(self) -> Dataset:
        self._check_room()
        generator = np.random.Generator(np.random.Philox(key=[self.seed, 1]))
        coarse = generator.random((self.classes, -(-self.height // 4), -(-self.width // 4), self.channels))
        patterns = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : self.height, : self.width]
        train = self._part(self.examples, patterns, generator)
        test = self._part(self.test_examples, patterns, generator)
        return Dataset("synthetic", train, test, classes=tuple(map(str, range(self.classes))))

    def _check_room(self) -> None:
        """Raise ConfigError where the set takes more memory than the machine has."""
        shape, count = (self.height, self.width, self.channels), self.examples + self.test_examples
        images, patterns = (number * math.prod(shape) for number in (count, self.classes))
        needed, there = images + LABEL * count + PATTERN * patterns, physical_memory()
        if needed > there:
            raise ConfigError(
                f"data: {count:,} images of {'x'.join(map(str, shape))} pixels in {self.classes:,} classes take "
                f"{short_bytes(needed)} of memory to make, and this machine has {short_bytes(there)}: take fewer or "
                "smaller ones",
                path="data",
            )

    def _part(self, count: int, patterns: np.ndarray, generator: np.random.Generator) -> Examples:
        labels = (np.arange(count) % self.classes).astype(np.int32)
        images = np.empty((count, self.height, self.width, self.channels), np.uint8)
        for index, label in enumerate(labels):
            pixels = generator.random(images.shape[1:], dtype=np.float32)
            images[index] = 255 * ((1 - self.noise) * patterns[label] + self.noise * pixels)
        return Examples(images, labels)
