"""Geometric changes of one example as values: where pixels, the ids of a mask and points go. JAX functions.

A move is drawn by the `moves` of an augmentation. What it holds may be traced; `size` is (height, width), plain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from cnnjax.data.augment import boxes, resample
from cnnjax.data.augment.boxes import Box


class Move(ABC):
    """One geometric change of an example, the same for all of its entries.

    Only `Resized`, and a `Window` that has a size, change their size.
    """

    @abstractmethod
    def image(self, image: jax.Array) -> jax.Array:
        """A float image [H, W, C] in 0..1, moved; of the same type."""

    @abstractmethod
    def mask(self, mask: jax.Array, outside: int) -> jax.Array:
        """A mask [H, W] of class ids, moved: every id is that of the nearest pixel, or `outside` where there is none.

        Of the same type.
        """

    @abstractmethod
    def points(self, points: jax.Array) -> jax.Array:
        """Where points [..., 2] go, float32: x, y in pixels from the image's upper left corner.

        The centre of the first pixel is 0.5, 0.5. Points may go outside the image.
        """

    def mirrors(self) -> jax.Array:
        """Whether what was left of something is right of it afterwards, as in a mirror: a boolean.

        From where three points go; a turn by half, which is two mirrorings, mirrors nothing.
        """
        corner, beside, below = self.points(jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        (a, b), (c, d) = beside - corner, below - corner
        return a * d - b * c < 0


@dataclass(frozen=True)
class Mirror(Move):
    """Mirrored where `mirrored` (a boolean) holds, "horizontal" (left and right swapped) or "vertical"."""

    size: tuple[int, int]
    mirrored: jax.Array
    direction: str = "horizontal"

    def image(self, image: jax.Array) -> jax.Array:
        flipped = image[:, ::-1] if self.direction == "horizontal" else image[::-1]
        return jnp.where(self.mirrored, flipped, image)

    def mask(self, mask: jax.Array, outside: int) -> jax.Array:
        return self.image(mask)

    def points(self, points: jax.Array) -> jax.Array:
        height, width = self.size
        x, y = points[..., 0], points[..., 1]
        flipped = (width - x, y) if self.direction == "horizontal" else (x, height - y)
        return jnp.where(self.mirrored, jnp.stack(flipped, -1), points)


@dataclass(frozen=True)
class Window(Move):
    """The window at `row`, `column` of the image padded by `padding` pixels on each side.

    mode: what the border holds, "constant" (0, and `outside` in a mask), "reflect" or "edge" (so in a mask, too). size:
    of the window; None is as large as the image.
    """

    row: jax.Array
    column: jax.Array
    padding: int
    mode: str = "constant"
    size: tuple[int, int] | None = None

    def image(self, image: jax.Array) -> jax.Array:
        border = ((self.padding, self.padding), (self.padding, self.padding), (0, 0))
        padded, size = jnp.pad(image, border, mode=self.mode), self.size or image.shape[:2]
        return jax.lax.dynamic_slice(padded, (self.row, self.column, 0), (*size, image.shape[2]))

    def mask(self, mask: jax.Array, outside: int) -> jax.Array:
        values = {"constant_values": outside} if self.mode == "constant" else {}
        padded = jnp.pad(mask, self.padding, mode=self.mode, **values)
        return jax.lax.dynamic_slice(padded, (self.row, self.column), self.size or mask.shape)

    def points(self, points: jax.Array) -> jax.Array:
        column, row = (jnp.asarray(self.padding - start, points.dtype) for start in (self.column, self.row))
        return jnp.stack([points[..., 0] + column, points[..., 1] + row], -1)


@dataclass(frozen=True)
class Resized(Move):
    """A box of whole pixels within the image, resized to `size`: in an augmentation, the image's own.

    method, antialias: of images, as of `resample.crop_and_resize`.
    """

    size: tuple[int, int]
    box: Box
    method: str = "bilinear"
    antialias: bool = True

    def image(self, image: jax.Array) -> jax.Array:
        return resample.crop_and_resize(image, self.box, size=self.size, method=self.method, antialias=self.antialias)

    def mask(self, mask: jax.Array, outside: int) -> jax.Array:
        (height, width), (top, left, tall, wide) = self.size, self.box
        rows, columns = _nearest(top, tall, height), _nearest(left, wide, width)
        return mask[rows][:, columns]

    def points(self, points: jax.Array) -> jax.Array:
        (height, width), box = self.size, self.box
        top, left, tall, wide = (jnp.asarray(part, points.dtype) for part in box)
        x, y = (points[..., 0] - left) * (width / wide), (points[..., 1] - top) * (height / tall)
        return jnp.stack([x, y], -1)


@dataclass(frozen=True)
class Placed(Move):
    """The whole image resized to the height and width of `box`, in whole pixels, and laid where the box stands in an
    image of `size`, the image's own; what the box has outside of it is cut off.

    Images are resized by bilinear interpolation, antialiased where they get smaller. fill: their value beside the box,
    one or one a channel.
    """

    size: tuple[int, int]
    box: Box
    fill: float | tuple[float, ...] = 0.0

    def image(self, image: jax.Array) -> jax.Array:
        return resample.resize_into(image, self.box, fill=self.fill)

    def mask(self, mask: jax.Array, outside: int) -> jax.Array:
        height, width = self.size
        top, left, tall, wide = self.box
        rows, columns = _nearest_back(top, tall, height), _nearest_back(left, wide, width)
        taken = mask[jnp.clip(rows, 0, height - 1)][:, jnp.clip(columns, 0, width - 1)]
        return jnp.where(boxes.inside(self.box, height, width)[..., 0], taken, jnp.asarray(outside, mask.dtype))

    def points(self, points: jax.Array) -> jax.Array:
        height, width = self.size
        top, left, tall, wide = (jnp.asarray(part, points.dtype) for part in self.box)
        return jnp.stack([points[..., 0] * (wide / width) + left, points[..., 1] * (tall / height) + top], -1)


def _nearest_back(start: jax.Array | int, length: jax.Array | int, pixels: int) -> jax.Array:
    """Which of `pixels` the centres of as many lie in once they are resized to `length` and moved by `start`."""
    return (2 * (jnp.arange(pixels) - start) + 1) * pixels // (2 * length)


def _nearest(start: jax.Array | int, length: jax.Array | int, outputs: int) -> jax.Array:
    """The pixels that the centres of `outputs` ones lie in, if `length` from `start` are resized: whole numbers."""
    return start + (2 * jnp.arange(outputs) + 1) * length // (2 * outputs)


@dataclass(frozen=True)
class Affine(Move):
    """Every pixel is taken from `matrix` [2, 3] times its (x, y, 1), in pixels from the image's centre, y down.

    interpolation: of images, "nearest", "bilinear" or "bicubic". fill: their value outside, one or one a channel.
    """

    size: tuple[int, int]
    matrix: jax.Array
    interpolation: str = "nearest"
    fill: float | tuple[float, ...] = 0.0

    def image(self, image: jax.Array) -> jax.Array:
        moved = resample.affine(
            jnp.asarray(image, jnp.float32), self.matrix, interpolation=self.interpolation, fill=self.fill
        )
        return moved.astype(image.dtype)

    def mask(self, mask: jax.Array, outside: int) -> jax.Array:
        return resample.affine(mask[..., None], self.matrix, fill=outside)[..., 0]

    def points(self, points: jax.Array) -> jax.Array:
        height, width = self.size
        (a, b, move_x), (c, d, move_y) = self.matrix
        x, y = points[..., 0] - width / 2 - move_x, points[..., 1] - height / 2 - move_y
        determinant = a * d - b * c
        back = (d * x - b * y) / determinant + width / 2, (a * y - c * x) / determinant + height / 2
        return jnp.stack(back, -1)
