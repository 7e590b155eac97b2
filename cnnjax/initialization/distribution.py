"""Random arrays of mean zero and a given standard deviation."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

Distribution = Literal["normal", "truncated_normal", "uniform"]

TRUNCATED_STD = 0.87962566103423978
"""The standard deviation of a standard normal number cut at -2 and 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))."""


def draw(distribution: Distribution, key: jax.Array, shape: tuple[int, ...], std: Any) -> jax.Array:
    """float32 numbers of that shape, mean 0 and standard deviation `std`, a number or a traced scalar.

    A truncated normal distribution is cut at two of its own standard deviations before the cut, 2.27 `std`: so wide
    that `std` is that of the numbers. A uniform one reaches to sqrt(3) `std`.
    """
    if distribution == "normal":
        return std * jax.random.normal(key, shape, jnp.float32)
    if distribution == "truncated_normal":
        return (std / TRUNCATED_STD) * jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32)
    return (3**0.5 * std) * jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0)
