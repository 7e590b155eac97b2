"""Maps of a fixed size from boxes of any size: RoIAlign and RoI pooling, with fixed shapes and without loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError, ShapeError, unknown
from cnnjax.nn.accumulation import widened
from cnnjax.nn.input_checks import located

Pool = Callable[..., jax.Array]


def roi_align(maps: jax.Array, boxes: jax.Array, *, stride: float, size: int, points: int = 2) -> jax.Array:
    """Means of bilinear samples in each of size x size parts of boxes (He et al. 2017, arXiv:1703.06870, section 3).

    maps: [H, W, C]. boxes: [P, 4] in pixels of the image, the middle of whose pixel (0, 0) is taken to lie at place
    (0, 0) of the map, divided by `stride`; sides count as one place at least. points: samples a side of a part. What
    lies more than one place outside the map is 0, nearer it is the edge's. Returns [P, size, size, C], in the maps'
    dtype: torchvision's `roi_align` with `aligned=False`.

    The weights of a sample are products of those of its row and column, so that both are matrix products.
    """
    height, width, _ = maps.shape
    x, corners = widened(maps), boxes.astype(jnp.float32) / stride
    rows, columns = (
        _weights(corners[:, axis], corners[:, axis + 2], places, size=size, points=points).astype(x.dtype)
        for axis, places in ((1, height), (0, width))
    )
    x = jnp.einsum("pih,hwc->piwc", rows, x)
    return jnp.einsum("pjw,piwc->pijc", columns, x).astype(maps.dtype)


def _weights(low: jax.Array, high: jax.Array, places: int, *, size: int, points: int) -> jax.Array:
    """What each place along an axis counts in each part of each box: [P, size, places]."""
    sides = jnp.maximum(high - low, 1.0)
    steps = (jnp.arange(size * points, dtype=jnp.float32) + 0.5) / (size * points)
    at = low[:, None] + steps[None] * sides[:, None]
    inside = (at >= -1) & (at <= places)
    near = jnp.clip(at, 0, places - 1)[..., None] - jnp.arange(places, dtype=jnp.float32)[None, None]
    weights = jnp.where(inside[..., None], jnp.maximum(1 - jnp.abs(near), 0), 0)
    return weights.reshape(len(low), size, points, places).mean(2)


def roi_pool(maps: jax.Array, boxes: jax.Array, *, stride: float, size: int, points: int = 2) -> jax.Array:
    """Maxima over each of size x size parts of boxes, in whole places (Girshick 2015, arXiv:1504.08083, section 2.1).

    As `roi_align`, but that corners are rounded to places, of which the last belongs to the box, and parts are widened
    to whole ones, so that neighbours may share some; a part without a place is 0. points means nothing here.
    torchvision's `roi_pool`.
    """
    height, width, _ = maps.shape
    corners = jnp.floor(boxes.astype(jnp.float32) / stride + 0.5)
    rows, columns = (
        _covered(corners[:, axis], corners[:, axis + 2], places, size=size)
        for axis, places in ((1, height), (0, width))
    )
    x = jnp.max(jnp.where(rows[..., None, None], maps[None, None], -jnp.inf), axis=2)
    x = jnp.max(jnp.where(columns[:, None, :, :, None], x[:, :, None], -jnp.inf), axis=3)
    there = rows.any(-1)[:, :, None, None] & columns.any(-1)[:, None, :, None]
    return jnp.where(there, x, 0).astype(maps.dtype)


def _covered(low: jax.Array, high: jax.Array, places: int, *, size: int) -> jax.Array:
    """Which places along an axis are in each part of each box: bool [P, size, places]."""
    part = jnp.maximum(high - low + 1, 1.0) / size
    number = jnp.arange(size, dtype=jnp.float32)[None]
    first = jnp.floor(number * part[:, None]) + low[:, None]
    last = jnp.ceil((number + 1) * part[:, None]) + low[:, None]
    place = jnp.arange(places, dtype=jnp.float32)[None, None]
    return (place >= first[..., None]) & (place < last[..., None])


REGION_POOLINGS: Mapping[str, Pool] = MappingProxyType({"align": roi_align, "max": roi_pool})
"""Every way to pool a box."""


class RegionPooling(nn.Module):
    """Maps of size x size for boxes: (maps [B, H, W, C] each, boxes [B, P, 4], level [B, P]) -> [B * P, size, size, C].

    Raises ShapeError where there are not as many maps as strides.

    Attributes:
        method: "align" (`roi_align`) or "max" (`roi_pool`).
        size: places a side.
        strides: pixels from one place to the next, of each map. A box is read from the map of its `level`, its number.
        points: samples a side of each place, of "align".
    """

    layer_op: ClassVar[str] = "region_pooling"
    method: Literal["align", "max"] = "align"
    size: int = 7
    strides: Sequence[int] = (16,)
    points: int = 2

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], boxes: jax.Array, level: jax.Array) -> jax.Array:
        with located(self):
            if self.method not in REGION_POOLINGS:
                raise ConfigError(unknown("region pooling", self.method, REGION_POOLINGS))
            if len(maps) != len(self.strides):
                raise ShapeError(f"{len(maps)} maps, but strides {tuple(self.strides)}: give one for each")
        pool = REGION_POOLINGS[self.method]
        pooled = jnp.zeros((), maps[0].dtype)
        for number, (x, stride) in enumerate(zip(maps, self.strides, strict=True)):

            def of_one(one: jax.Array, own: jax.Array, stride: int = stride) -> jax.Array:
                return pool(one, own, stride=stride, size=self.size, points=self.points)

            here = (level == number)[..., None, None, None]
            pooled = pooled + jnp.where(here, jax.vmap(of_one)(x, boxes), 0)
        return pooled.reshape(-1, *pooled.shape[2:])
