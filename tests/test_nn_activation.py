"""Activation functions against their formulas."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax.errors import ConfigError
from cnnjax.nn import ACTIVATIONS, activation

FORMULAS = {
    "relu": lambda x: max(0, x),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "leaky_relu_0.2": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "scaled_tanh": lambda x: 1.7159 * math.tanh(2 * x / 3),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "relu6": lambda x: min(max(x, 0), 6),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "identity": lambda x: x,
}


def test_every_activation_has_a_formula():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_follows_its_formula(name):
    x = np.array([-20, -3.5, -1, -0.1, 0, 0.1, 1, 3.5, 7, 20], np.float32)
    expected = [FORMULAS[name](float(value)) for value in x]
    # float32 against double precision; hard_swish multiplies by a rounded 1/6.
    assert_allclose(activation(name)(jnp.asarray(x)), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_dtype_is_kept_and_gradients_are_finite(name):
    x = jnp.array([-100.0, -1, 0, 1, 100], jnp.bfloat16)
    assert activation(name)(x).dtype == jnp.bfloat16
    assert jnp.isfinite(jax.vmap(jax.grad(activation(name)))(x)).all()


def test_scaled_tanh_is_about_one_at_one():
    """LeCun et al. 1998, section 4.4 of Efficient backprop: f(1) = 1 and f(-1) = -1."""
    assert_allclose(activation("scaled_tanh")(jnp.array([-1.0, 1.0])), [-1, 1], atol=1e-4)


def test_unknown_name_gets_its_near_misses():
    with pytest.raises(ConfigError, match=r"'relu7' is no activation\. Did you mean 'relu"):
        activation("relu7")
