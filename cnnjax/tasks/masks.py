"""What a trained network says of every pixel: masks, the share of each class, and pictures of both."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError, DataError

SHOWN = 5
"""Images that the representation tells of."""


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """Of N images, in their order.

    logits: the network's outputs, float32 [N, H, W, K], the mean over an image's views. probabilities: of each class,
    [N, H, W, C]; C is K, or 2 with one output. classes: their names.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.logits)

    @cached_property
    def masks(self) -> np.ndarray:
        """The likeliest class of each pixel, int32 [N, H, W]; of equals the first."""
        scores = self.logits if self.logits.shape[-1] == len(self.classes) else self.probabilities
        return scores.argmax(-1).astype(np.int32)

    @cached_property
    def shares(self) -> np.ndarray:
        """The share of an image's pixels that are of each class, float64 [N, C]; rows sum to 1."""
        return np.stack([(self.masks == label).mean((1, 2)) for label in range(len(self.classes))], axis=1)

    def top(self, count: int) -> list[list[tuple[str, float]]]:
        """For each image the `count` classes of most pixels, with their shares.

        Raises ConfigError unless `count` is 1 to the number of classes.
        """
        if not (isinstance(count, int) and 1 <= count <= len(self.classes)):
            most = len(self.classes)
            raise ConfigError(f"top = {count!r}: must be 1 to {most}, for the run has {most} classes")
        order = np.argsort(-self.shares, axis=1, kind="stable")[:, :count]
        return [
            [(self.classes[each], float(row[each])) for each in first]
            for first, row in zip(order, self.shares, strict=True)
        ]

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"class", "share", "top": [...]}` of each image: the classes of most pixels first."""
        told = [[{"class": name, "share": share} for name, share in most] for most in self.top(top)]
        return [{**most[0], "top": most} for most in told]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: the heads of its columns, and the cells of each image."""
        heads = ("most pixels", "share", *(["then"] if top > 1 else []))
        rows = []
        for most in self.top(top):
            told = [(name, f"{share:.1%}") for name, share in most]
            then = [", ".join(f"{name} {share}" for name, share in told[1:])] if top > 1 else []
            rows.append([*told[0], *then])
        return heads, rows

    def pictures(self, images: np.ndarray) -> Iterator[bytes]:
        """A PNG of each mask: its pixels are class ids, shown in the colours of `palette`.

        Of more than 256 classes it is one of 16 bits, in grey.
        """
        from PIL import Image

        for mask in self.masks:
            if len(self.classes) > 256:
                picture = Image.fromarray(mask.astype(np.uint16))
            else:
                picture = Image.fromarray(mask.astype(np.uint8))
                picture.putpalette(palette(len(self.classes)).tobytes())
            written = io.BytesIO()
            picture.save(written, "PNG")
            yield written.getvalue()

    def overlay(self, images: np.ndarray, *, opacity: float = 0.5) -> np.ndarray:
        """The images under their masks' colours, uint8 [N, H, W, 3]; class 0 is left as it is.

        images: uint8 [N, H, W, C], C = 1 or 3. Raises DataError where they do not fit.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != self.masks.shape:
            wanted = list(self.masks.shape)
            raise DataError(f"overlay: images {images.dtype} {list(images.shape)}; masks need uint8 {wanted} and C")
        if images.shape[3] not in (1, 3):
            raise DataError(f"overlay: images of {images.shape[3]} channels; it takes 1 or 3")
        grey = np.broadcast_to(images, (*self.masks.shape, 3)).astype(np.float32)
        colours = palette(len(self.classes))[self.masks].astype(np.float32)
        weight = np.where(self.masks > 0, opacity, 0.0)[..., None]
        return np.round((1 - weight) * grey + weight * colours).astype(np.uint8)

    def __repr__(self) -> str:
        few = Masks(self.logits[:SHOWN], self.probabilities[:SHOWN], self.classes)
        most = few.top(len(self.classes))
        told = [", ".join(f"{name} {share:.0%}" for name, share in shares if share) for shares in most]
        more = ["..."] if len(self) > SHOWN else []
        return f"<Masks of {len(self)} image{'s' * (len(self) != 1)}: {'; '.join([*told, *more])}>"


def palette(classes: int) -> np.ndarray:
    """A colour for each class, uint8 [classes, 3]: class 0 is black, and the bits of an id are the top bits of its
    colours, three by three, as in the masks of PASCAL VOC.
    """
    ids = np.arange(classes)
    colours = np.zeros((classes, 3), np.int64)
    for channel in range(3):
        for place in range(8):
            colours[:, channel] |= ((ids >> (3 * place + channel)) & 1) << (7 - place)
    return colours.astype(np.uint8)
