"""What a trained network says of images in sentences, and pictures of them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnnjax.errors import DataError
from cnnjax.metrics.captions import sentence_of

SHOWN = 5
"""Images that the representation tells of."""
LINE, LETTER = 12, 6
"""Pixels of a line of text below a picture, and of a letter's width."""
LEAST = 160
"""Pixels that a picture with a sentence is wide at least: it is enlarged by a whole factor."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sentences:
    """Of N images, in their order.

    words: ids int32 [N, L], 0 from the end of a sentence on. scores: log probabilities of the sentences, float32 [N].
    vocabulary: the words by id.
    """

    words: np.ndarray
    scores: np.ndarray
    vocabulary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The sentence of each image."""
        return tuple(" ".join(self.vocabulary[word] for word in sentence_of(row)) for row in self.words)

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"sentence", "log_probability"}` of each image. top: means nothing here."""
        return [
            {"sentence": text, "log_probability": float(score)}
            for text, score in zip(self.texts, self.scores, strict=True)
        ]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: the sentence, and its probability."""
        told = zip(self.texts, self.scores, strict=True)
        return ("sentence", "probability"), [[text, f"{np.exp(score):.1%}"] for text, score in told]

    def pictures(self, images: np.ndarray) -> Iterator[bytes]:
        """A PNG of each image with its sentence below, as `captioned` draws them."""
        from PIL import Image

        for picture in self.captioned(images):
            written = io.BytesIO()
            Image.fromarray(picture).save(written, "PNG")
            yield written.getvalue()

    def captioned(self, images: np.ndarray) -> np.ndarray:
        """The images with their sentences below, uint8 [N, H', W', 3], enlarged where they are narrow.

        images: uint8 [N, H, W, C], C = 1 or 3. Raises DataError where they do not fit.
        """
        from PIL import Image, ImageDraw

        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(self) or images.shape[3] not in (1, 3):
            raise DataError(
                f"captioned: images {images.dtype} {list(images.shape)}; they must be uint8 [{len(self)}, H, W, 1 or 3]"
            )
        factor = -(-LEAST // images.shape[2])
        drawn = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
        drawn = drawn.repeat(factor, 1).repeat(factor, 2)
        height, width = drawn.shape[1:3]
        lines = [textwrap.wrap(text, width // LETTER - 1) for text in self.texts]
        room = LINE * max((len(each) for each in lines), default=0) + 4
        made = np.full((len(self), height + room, width, 3), 255, np.uint8)
        made[:, :height] = drawn
        for place, each in enumerate(lines):
            canvas = Image.fromarray(made[place])
            draw = ImageDraw.Draw(canvas)
            for number, line in enumerate(each):
                draw.text((3, height + 1 + LINE * number), line, fill=(0, 0, 0))
            made[place] = np.asarray(canvas)
        return made

    def __repr__(self) -> str:
        more = ["..."] if len(self) > SHOWN else []
        return f"<Sentences of {len(self)} image{'s' * (len(self) != 1)}: {'; '.join([*self.texts[:SHOWN], *more])}>"
