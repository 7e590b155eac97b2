"""Optax's transformations where dtypes are not promoted by themselves (`jax.numpy_dtype_promotion("strict")`)."""

from __future__ import annotations

from typing import Any

import jax
import optax


def promoting(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
    """The transformation, whose update promotes dtypes as NumPy does.

    Optax raises decay rates to the number of steps by jnp.power, which strict promotion refuses.
    """

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return transformation.update(updates, state, params)

    return optax.GradientTransformation(transformation.init, update)
