"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError, unknown

Activation = Callable[[jax.Array], jax.Array]


def scaled_tanh(x: jax.Array) -> jax.Array:
    """1.7159 tanh(2x / 3), about 1 at 1 and -1 at -1: LeNet-5's squashing function (LeCun et al. 1998)."""
    return 1.7159 * jnp.tanh(x * (2 / 3))


def identity(x: jax.Array) -> jax.Array:
    """x itself."""
    return x


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "relu": jax.nn.relu,
        "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.01),
        "leaky_relu_0.2": partial(jax.nn.leaky_relu, negative_slope=0.2),
        "elu": jax.nn.elu,
        "gelu": partial(jax.nn.gelu, approximate=False),
        "silu": jax.nn.silu,
        "tanh": jnp.tanh,
        "scaled_tanh": scaled_tanh,
        "sigmoid": jax.nn.sigmoid,
        "hard_sigmoid": jax.nn.hard_sigmoid,
        "hard_swish": jax.nn.hard_swish,
        "relu6": jax.nn.relu6,
        "softplus": jax.nn.softplus,
        "identity": identity,
    }
)
"""Every activation function. `gelu` is the exact one (x times the normal distribution function)."""


def activation(name: str) -> Activation:
    """The elementwise function of that name, one of ACTIVATIONS. Raises ConfigError with the near misses."""
    if name not in ACTIVATIONS:
        raise ConfigError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]
