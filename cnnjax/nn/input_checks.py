"""Errors that say which layer they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError, ShapeError


@contextmanager
def located(module: nn.Module) -> Iterator[None]:
    """Puts the module's dotted path before the message of a ConfigError or ShapeError raised inside."""
    try:
        yield
    except ConfigError as error:
        path = ".".join(module.path)
        raise type(error)(f"{path}: {error}" if path else str(error)) from None


def check_images(x: jax.Array) -> None:
    """Raises ShapeError unless `x` is a floating-point batch of images or feature maps, NHWC."""
    check_floating(x)
    if x.ndim != 4:
        raise ShapeError(f"expects a batch of images (batch, height, width, channels), not shape {x.shape}")


def check_floating(x: jax.Array) -> None:
    """Raises ShapeError unless `x` is floating point: its dtype is the dtype everything is computed in."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ShapeError(f"computes in its input's dtype, which must be floating point, not {x.dtype}")
