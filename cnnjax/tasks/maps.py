"""What tasks share whose outputs are maps: the network that makes them, their form, and the mean over views."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax.data import TestTime
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models import Model
from cnnjax.models.heads import Head, with_head
from cnnjax.models.outputs import array_of, shown


def network(model: Model, head: Head | None, *, task: str) -> linen.Module:
    """The network of `model`, whose num_classes is set, that makes maps: itself, or under the head.

    Raises ConfigError, which names the `task`, where it makes none.
    """
    if head is not None:
        assert model.num_classes is not None
        return with_head(model, head, model.num_classes)
    if model.makes == "maps":
        return model.build()
    raise ConfigError(
        f"{model.tag} says one thing of an image, and task = {task!r} is of its pixels: give it a head, as "
        "task.head=fcn, or take a model that makes maps, such as unet"
    )


def read(model: Model, returned: Any, *, batch: int, needed: int, what: str) -> jax.Array:
    """The maps [B, H, W, needed] in what the network returned. what: the targets, in words. Raises ShapeError."""
    maps = array_of(model, returned)
    if maps.ndim != 4 or (maps.shape[0], maps.shape[3]) != (batch, needed):
        raise ShapeError(
            f"{type(model).__name__}: outputs are {shown(maps)}, and {what} need [{batch},H,W,{needed}]: "
            f"{needed} for every pixel of {batch} images"
        )
    if not jnp.issubdtype(maps.dtype, jnp.floating):
        raise ShapeError(f"{type(model).__name__}: outputs are {shown(maps)}; they must be floating-point numbers")
    return maps


def merged(outputs: jax.Array, views: TestTime, image_shape: tuple[int, int, int]) -> jax.Array:
    """The mean of maps [B, V, h, w, K], each brought back onto the image of `image_shape`. Raises ConfigError."""
    views.check_maps(image_shape)
    return jax.vmap(lambda maps: views.back(maps, image_shape[:2]))(outputs).mean(1)


def sides(shape: tuple[int, ...]) -> str:
    """`32x32`, of height and width."""
    return "x".join(map(str, shape[:2]))
