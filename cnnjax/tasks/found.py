"""What a trained network finds in images: boxes with classes and scores, masks in them, and pictures of all that."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from cnnjax import box_masks
from cnnjax.errors import DataError
from cnnjax.tasks.masks import palette

SHOWN = 5
"""Images that the representation tells of, and objects of each in a table."""
COVER = 0.5
"""How much of a pixel is the colour of its object."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Boxes:
    """Of N images, in their order, D objects at most in each, the strongest first.

    boxes: x_min, y_min, x_max, y_max, float32 [N, D, 4], in shares of the image's width and height, so that they fit it
    at any size. scores: of the object and its class, 0 to 1, [N, D]. labels: class ids, int32 [N, D]. valid, bool [N,
    D]: False for rows that are no object. classes: their names. parts: of a network that says masks, the probability
    that each of S x S parts of a box is of its object, float32 [N, D, S, S]; else None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    classes: tuple[str, ...]
    parts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def objects(self, image: int) -> list[dict[str, Any]]:
        """`{"class", "score", "box": [x_min, y_min, x_max, y_max]}` of each object of one image."""
        return [
            {
                "class": self.classes[self.labels[image, row]],
                "score": float(self.scores[image, row]),
                "box": [float(side) for side in self.boxes[image, row]],
            }
            for row in np.flatnonzero(self.valid[image])
        ]

    def masks(self, height: int, width: int) -> np.ndarray:
        """Which pixels of images of that size are of each object, bool [N, D, height, width].

        Raises DataError where the network says no masks.
        """
        if self.parts is None:
            raise DataError("masks: the network of these boxes says none; one of task.head=mask_rcnn does")
        sides = np.array([width, height, width, height], np.float32)
        said = [
            np.asarray(box_masks.pasted(jnp.asarray(parts), jnp.asarray(boxes * sides), (height, width)))
            for parts, boxes in zip(self.parts, self.boxes, strict=True)
        ]
        return np.array(said).reshape(*self.valid.shape, height, width) >= box_masks.FROM

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"objects": [...]}` of each image, as `objects` has them. top: means nothing here."""
        return [{"objects": self.objects(image)} for image in range(len(self))]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: how many objects an image has, and the strongest with their sides in percent."""
        told = []
        for image in range(len(self)):
            found = self.objects(image)
            more = ["..."] if len(found) > SHOWN else []
            told.append([f"{len(found)}", ", ".join([*map(_said, found[:SHOWN]), *more])])
        return ("objects", "strongest, with x and y in %"), told

    def pictures(self, images: np.ndarray) -> Iterator[bytes]:
        """A PNG of each image with its boxes, as `overlay` draws them."""
        from PIL import Image

        for picture in self.overlay(images):
            written = io.BytesIO()
            Image.fromarray(picture).save(written, "PNG")
            yield written.getvalue()

    def overlay(self, images: np.ndarray, *, names: bool = True) -> np.ndarray:
        """The images with their boxes, uint8 [N, H, W, 3], the strongest on top, in a colour for each class; masks,
        where there are any, in a colour for each object, and the boxes in that colour then.

        images: uint8 [N, H, W, C], C = 1 or 3. names: whether class and score stand in each box. Raises DataError
        where they do not fit.
        """
        from PIL import Image, ImageDraw

        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(self) or images.shape[3] not in (1, 3):
            raise DataError(
                f"overlay: images {images.dtype} {list(images.shape)}; boxes need uint8 [{len(self)}, H, W, 1 or 3]"
            )
        height, width = images.shape[1:3]
        drawn = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images.copy()
        # Twice as bright as masks have them: lines are thin.
        count = len(self.classes) if self.parts is None else self.valid.shape[1]
        colours = np.minimum(2 * palette(count + 1)[1:].astype(int), 255)
        masks = None if self.parts is None else self.masks(height, width)
        for image in range(len(self)):
            rows = np.flatnonzero(self.valid[image])[::-1]
            for row in rows if masks is not None else ():
                own: np.ndarray = masks[image, row]  # pyright: ignore[reportOptionalSubscript]
                mixed = (1 - COVER) * drawn[image][own] + COVER * colours[row]
                drawn[image][own] = mixed.round().astype(np.uint8)
            canvas = Image.fromarray(drawn[image])
            draw = ImageDraw.Draw(canvas)
            for row in rows:
                label = self.labels[image, row]
                colour = tuple(map(int, colours[label if masks is None else row]))
                left, top, right, bottom = self.boxes[image, row] * (width, height, width, height)
                # Pixels of the border: the last one that the box covers.
                corners = (
                    round(left),
                    round(top),
                    max(round(left), round(right) - 1),
                    max(round(top), round(bottom) - 1),
                )
                draw.rectangle([float(side) for side in corners], outline=colour)
                if names:
                    said = f"{self.classes[label]} {self.scores[image, row]:.0%}"
                    draw.text((corners[0] + 2, corners[1] + 1), said, fill=colour)
            drawn[image] = np.asarray(canvas)
        return drawn

    def __repr__(self) -> str:
        few = range(min(len(self), SHOWN))
        told = [_listed([each["class"] for each in self.objects(image)]) for image in few]
        more = ["..."] if len(self) > SHOWN else []
        return f"<Boxes in {len(self)} image{'s' * (len(self) != 1)}: {'; '.join([*told, *more])}>"


def _listed(names: list[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])]) or "nothing"


def _said(found: dict[str, Any]) -> str:
    left, top, right, bottom = (100 * side for side in found["box"])
    return f"{found['class']} {found['score']:.0%} ({left:.0f}-{right:.0f}, {top:.0f}-{bottom:.0f})"
