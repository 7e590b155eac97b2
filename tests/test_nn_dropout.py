"""Dropout: the expectation is kept, and a mask does not depend on the number of devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax.errors import ConfigError
from cnnjax.nn import InvertedDropout

KEY = jax.random.key(3)


def drop(module, x, *, key=KEY, train=True):
    return module.apply({}, x, train=train, rngs={"dropout": key})


def test_lectures_example_keeps_the_expectation():
    """Rate 0.2 on 1 to 5. Inverted form: divide by 0.8 in training, do nothing at inference."""
    x = jnp.arange(1.0, 6).reshape(1, 5)
    assert_array_equal(drop(InvertedDropout(0.2), x, train=False), x)
    draws = np.asarray(
        jax.jit(jax.vmap(lambda key: drop(InvertedDropout(0.2), x, key=key)))(jax.random.split(KEY, 20_000))
    )
    assert set(np.unique(draws / np.asarray(x))) == {np.float32(0), np.float32(1.25)}
    # 20,000 draws: the standard error of a mean of x is x * 0.5 / 141.
    assert_allclose(draws.mean(0), x, rtol=0.02)


@pytest.mark.parametrize("shape", [(4, 6, 6, 8), (4, 50)])
def test_spatial_dropout_takes_whole_channels(shape):
    y = np.asarray(drop(InvertedDropout(0.5, spatial=True), jnp.ones(shape)))
    flat = y.reshape(shape[0], -1, shape[-1])
    assert (flat == flat[:, :1]).all()
    assert set(np.unique(y)) == {0, 2}


def test_rate_may_be_traced():
    x = jnp.ones((8, 8))
    traced = jax.jit(lambda rate: drop(InvertedDropout(rate), x))
    assert_array_equal(traced(0.25), drop(InvertedDropout(0.25), x))
    assert_array_equal(traced(0.0), x)
    lanes = jax.vmap(traced)(jnp.array([0.0, 0.25, 0.5]))
    assert_array_equal(lanes[1], traced(0.25))
    assert jnp.isfinite(jax.grad(lambda rate: drop(InvertedDropout(rate), x).sum())(0.5))


def test_a_plain_zero_costs_nothing():
    x = jnp.ones((2, 3))
    assert InvertedDropout(0.0).apply({}, x, train=True) is x
    assert InvertedDropout(0.5).apply({}, x, train=False) is x


def test_masks_do_not_depend_on_the_dtype():
    x = jnp.ones((8, 64))
    half = drop(InvertedDropout(0.5), x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert_array_equal(half.astype(jnp.float32), drop(InvertedDropout(0.5), x))


def test_gradient_is_the_mask():
    x = jax.random.normal(KEY, (8, 8))
    module = InvertedDropout(0.5)
    assert_array_equal(jax.grad(lambda value: drop(module, value).sum())(x), drop(module, jnp.ones_like(x)))


@pytest.mark.parametrize(("devices", "spatial"), [(2, False), (8, False), (8, True)])
def test_masks_do_not_depend_on_the_devices(devices, spatial):
    x = jnp.ones((16, 3, 3, 4))
    module = InvertedDropout(0.5, spatial=spatial)
    step = lambda value, key: drop(module, value, key=key)  # noqa: E731
    alone = jax.jit(step)(x, KEY)

    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    batch = PartitionSpec("data")
    manual = jax.shard_map(step, mesh=mesh, in_specs=(batch, PartitionSpec()), out_specs=batch)
    assert_array_equal(jax.jit(manual)(x, KEY), alone)
    with jax.set_mesh(mesh):
        assert_array_equal(jax.jit(step)(jax.device_put(x, NamedSharding(mesh, batch)), KEY), alone)
    parts = jax.pmap(step, in_axes=(0, None), devices=jax.devices()[:devices])
    assert_array_equal(parts(x.reshape(devices, -1, *x.shape[1:]), KEY).reshape(x.shape), alone)


def test_masks_over_a_mesh_of_two_axes():
    x = jnp.ones((16, 5))
    mesh = jax.make_mesh((2, 4), ("host", "chip"), axis_types=(AxisType.Auto,) * 2)
    batch = PartitionSpec(("host", "chip"))
    step = lambda value: drop(InvertedDropout(0.5), value)  # noqa: E731
    manual = jax.shard_map(step, mesh=mesh, in_specs=batch, out_specs=batch)
    assert_array_equal(jax.jit(manual)(x), step(x))


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_bad_rate(rate):
    with pytest.raises(ConfigError, match="must be at least 0 and below 1"):
        drop(InvertedDropout(rate), jnp.ones((2, 3)))
