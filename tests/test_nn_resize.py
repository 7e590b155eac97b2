"""Resizing of maps: worked numbers; against PyTorch in tests/test_torch_nn.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax.errors import ConfigError, ShapeError
from cnnjax.nn import Resize


def resized(values, **fields):
    """One image of one row or more, one channel."""
    x = jnp.asarray(values, jnp.float32)[None, :, :, None]
    return np.asarray(Resize(**fields).apply({}, x))[0, :, :, 0]


def test_nearest_repeats():
    assert_array_equal(
        resized([[1, 2], [3, 4]], factor=2, method="nearest"), [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    )
    assert_array_equal(resized([[1, 2]], factor=(1, 3), method="nearest"), [[1, 1, 1, 2, 2, 2]])
    # Centres at 5/6 - 1/2, 5/2 - 1/2 and 25/6 - 1/2 of five.
    assert_array_equal(resized([[0, 1, 2, 3, 4]], size=(1, 3), method="nearest"), [[0, 2, 4]])


def test_bilinear_weighs_by_distance():
    # Centres at -1/4, 1/4, 3/4 and 5/4: the first and the last are beyond the edge.
    assert_allclose(resized([[0, 4]], factor=(1, 2)), [[0, 1, 3, 4]])
    assert_allclose(resized([[0, 4], [8, 12]], factor=2)[1], [2, 3, 5, 6])
    # Without smoothing: centres at 1/2 and 5/2.
    assert_allclose(resized([[0, 2, 8, 10]], size=(1, 2)), [[1, 9]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "factor = None, size = None: give one of them"),
        ({"factor": 2, "size": 4}, "give one of them"),
        ({"factor": 0}, "factor = 0: must be a positive integer"),
        ({"factor": 2, "method": "cubic"}, "method"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Resize(**fields).init(jax.random.key(0), jnp.ones((1, 2, 2, 1)))


def test_only_maps_are_resized():
    with pytest.raises(ShapeError, match="expects a batch of images"):
        Resize(2).init(jax.random.key(0), jnp.ones((2, 2, 1)))
