"""What a trained network says of an image's figure: its joints with scores, and pictures of them."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax.errors import DataError

SHOWN = 5
"""Images that the representation tells of, and joints of each in a table."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Poses:
    """Of N images, in their order.

    joints: x and y of K joints in pixels of images of `size` (height, width), and the score of each, float32 [N, K, 3];
    a score of NaN is of a joint that is not told. scores: of the whole poses, [N]. names: of the joints. limbs: pairs
    of joints that are drawn as lines.
    """

    joints: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.joints)

    def told(self, image: int) -> list[dict[str, Any]]:
        """`{"joint", "x", "y", "score"}` of each joint of one image."""
        return [
            {"joint": name, "x": float(x), "y": float(y), "score": float(score)}
            for name, (x, y, score) in zip(self.names, self.joints[image], strict=True)
            if not np.isnan(score)
        ]

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"score", "joints": [...]}` of each image, as `told` has them. top: means nothing here."""
        return [{"score": float(score), "joints": self.told(image)} for image, score in enumerate(self.scores)]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: the pose's score, and the surest joints with x and y in pixels."""
        rows = []
        for image, score in enumerate(self.scores):
            told = sorted(self.told(image), key=lambda joint: -joint["score"])
            more = ["..."] if len(told) > SHOWN else []
            said = (f"{joint['joint']} {joint['x']:.1f}, {joint['y']:.1f}" for joint in told[:SHOWN])
            rows.append([f"{score:.2f}", "; ".join([*said, *more])])
        return ("score", "surest joints, with x and y in pixels"), rows

    def pictures(self, images: np.ndarray) -> Iterator[bytes]:
        """A PNG of each image with its skeleton, as `overlay` draws it."""
        from PIL import Image

        for picture in self.overlay(images):
            written = io.BytesIO()
            Image.fromarray(picture).save(written, "PNG")
            yield written.getvalue()

    def overlay(self, images: np.ndarray, *, least: float = 0.1) -> np.ndarray:
        """The images with their skeletons, uint8 [N, H, W, 3]: limbs as lines, joints as dots in a colour for each.

        images: uint8 [N, H, W, C], C = 1 or 3, of any size. least: the score from which a joint is drawn, and a limb
        whose joints both are. Raises DataError where they do not fit.
        """
        from PIL import Image, ImageDraw

        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(self) or images.shape[3] not in (1, 3):
            raise DataError(
                f"overlay: images {images.dtype} {list(images.shape)}; poses need uint8 [{len(self)}, H, W, 1 or 3]"
            )
        drawn = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images.copy()
        height, width = images.shape[1:3]
        scale = np.array([width / self.size[1], height / self.size[0]])
        radius = max(height, width) // 100 + 1
        colours = hues(len(self.names))
        for image, joints in enumerate(self.joints):
            canvas = Image.fromarray(drawn[image])
            draw = ImageDraw.Draw(canvas)
            # The pixels that they lie in.
            points = np.floor(joints[:, :2] * scale)
            for a, b in self.limbs:
                if min(joints[a, 2], joints[b, 2]) >= least:
                    between = [(float(x), float(y)) for x, y in (points[a], points[b])]
                    draw.line(between, fill=(255, 255, 255), width=radius)
            for (x, y), score, colour in zip(points, joints[:, 2], colours, strict=True):
                if score >= least:
                    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
            drawn[image] = np.asarray(canvas)
        return drawn

    def __repr__(self) -> str:
        few = ", ".join(f"{score:.2f}" for score in self.scores[:SHOWN])
        more = ", ..." if len(self) > SHOWN else ""
        return f"<Poses of {len(self.names)} joints in {len(self)} image{'s' * (len(self) != 1)}: {few}{more}>"


def hues(count: int) -> list[tuple[int, int, int]]:
    """So many bright colours, from 0 to 255 each of red, green and blue, spread evenly over the hues."""
    bright = (colorsys.hsv_to_rgb(number / count, 1.0, 1.0) for number in range(count))
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in bright]
