"""Data sets that are not there: noise in the form of their files, and as many examples as they have."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import partialmethod

import numpy as np
from PIL import Image

from cnnjax import TFDS
from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Encoded, Indices, taken
from cnnjax.data.examples import Examples, Scale


@dataclass(frozen=True)
class Form:
    """How many examples a published set has, of how many classes, and the shape of its images (ImageNet's differ)."""

    train: int
    test: int
    classes: int
    shape: tuple[int, int, int]
    one_size: bool = True


FORMS = {
    "mnist": Form(60_000, 10_000, 10, (28, 28, 1)),
    "fashion_mnist": Form(60_000, 10_000, 10, (28, 28, 1)),
    "cifar10": Form(50_000, 10_000, 10, (32, 32, 3)),
    "cifar100": Form(50_000, 10_000, 100, (32, 32, 3)),
    "imagenet2012": Form(1_281_167, 50_000, 1000, (60, 80, 3), one_size=False),
}
KINDS = 16
"""Different images, which follow each other again and again."""


@dataclass(frozen=True, eq=False)
class Noise(Encoded):
    """`count` encoded images of noise."""

    files: tuple[bytes, ...]
    count: int

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Indices) -> list[bytes]:
        return [self.files[index % KINDS] for index in indices]

    def shown(self, index: int) -> str:
        return f"noise {index}"

    def take(self, indices: np.ndarray) -> Noise:
        return replace(self, in_memory=taken(self, indices), count=len(indices))

    def hash_into(self, total) -> None:
        total.update(b"noise")

    def held(self) -> Examples:
        kinds = np.stack(list(self.images_at(np.arange(KINDS))))
        return Examples(kinds[np.arange(self.count) % KINDS], self.labels)

    def measured(self) -> Scale:
        return (0.5,) * self.form.channels, (0.25,) * self.form.channels


def put_in(monkeypatch, *, train: int | None = None, test: int | None = None) -> None:
    """Let noise stand for every set of TFDS. train, test: how many examples; None for as many as there are."""
    # A function would be code of a user's: plans trace arms that run any once more, to compare them.
    monkeypatch.setattr(TFDS, "read", partialmethod(stand_in, train, test))


def stand_in(data: TFDS, train: int | None, test: int | None) -> Dataset:
    """What `data.read()` would give, with noise for images."""
    form = FORMS[data.name]
    assert form.one_size or data.size is not None, "images of different sizes need data.size"
    generator = np.random.default_rng(0)
    files = tuple(encoded(generator.integers(0, 256, form.shape, np.uint8)) for _ in range(KINDS))
    classes = tuple(map(str, range(form.classes)))

    def part(count: int) -> Noise:
        labels = (np.arange(count) % form.classes).astype(np.int32)
        return Noise({"label": labels}, classes, data.form(form.shape[2]), files, count)

    return Dataset(data.name, part(train or form.train), part(test or form.test), classes=classes)


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(file, "png")
    return file.getvalue()
