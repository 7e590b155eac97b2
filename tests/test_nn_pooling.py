"""Pooling against the lectures' worked numbers and windows taken one by one in NumPy."""

from __future__ import annotations

import functools
from functools import partial
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax.arithmetic import pool_shape, resolve_padding
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.nn import Convolution, GlobalPooling, Pooling
from tests.marks import slow

WORKED = [[1, 3, 1, 2], [6, 1, 5, 4], [5, 4, 2, 5], [3, 3, 1, 2]]


def single(image, module):
    return np.asarray(module.apply({}, jnp.asarray(image, jnp.float32)[None, :, :, None]))[0, :, :, 0]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("max", [[6, 5, 5], [6, 5, 5], [5, 4, 5]]), ("average", [[2.75, 2.5, 3], [4, 3, 4], [3.75, 2.5, 2.5]])],
)
def test_worked_pooling(kind, expected):
    assert_array_equal(single(WORKED, Pooling(kind, strides=1)), expected)


def test_x_or_o_keeps_the_partial_window():
    image = np.full((9, 9), -1)
    for i in range(1, 8):
        image[i, i] = image[i, 8 - i] = 1
    kernel = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)[:, :, None, None]
    convolution = Convolution(1, 3, padding="valid", bias=False)
    x = jnp.asarray(image, jnp.float32)[None, :, :, None]
    responses = convolution.apply({"params": {"kernel": kernel}}, x)
    pooled = Pooling("max", partial=True).apply({}, responses / 9)[0, :, :, 0]
    expected = [[100, 33, 55, 33], [33, 100, 33, 55], [55, 33, 100, 11], [33, 55, 11, 77]]
    assert_array_equal(np.trunc(pooled * 100), expected)


# --- windows one by one


def windows(x, fields, shape):
    """For each output position the values in its window and where they lie: inside, in the padding, or beyond."""
    size, strides = fields["window"], fields["strides"]
    pads = resolve_padding(fields["padding"], x.shape, kernel=size, strides=strides)
    for position in np.ndindex(*shape):
        begin = [p * s - pad[0] for p, s, pad in zip(position, strides, pads, strict=True)]
        cells = [(i, j) for i in range(begin[0], begin[0] + size[0]) for j in range(begin[1], begin[1] + size[1])]
        inside = [0 <= i < x.shape[0] and 0 <= j < x.shape[1] for i, j in cells]
        padded = [i < x.shape[0] + pads[0][1] and j < x.shape[1] + pads[1][1] for i, j in cells]
        yield position, cells, np.array(inside), np.array(padded)


def reference(kind, x, fields, shape, count_padding):
    """Output and, for a cotangent of ones, the gradient."""
    y, gradient = np.zeros(shape), np.zeros(x.shape)
    taps = [[comb(f - 1, k) for k in range(f)] if kind == "blur" else [1] * f for f in fields["window"]]
    weights = np.outer(*taps).ravel()
    for position, cells, inside, padded in windows(x, fields, shape):
        held = [cell for cell, real in zip(cells, inside, strict=True) if real]
        values = np.array([x[cell] for cell in held])
        if kind == "max":
            y[position] = values.max()
            gradient[held[int(values.argmax())]] += 1
            continue
        share = weights[inside] / weights[padded if count_padding else inside].sum()
        y[position] = values @ share
        for cell, part in zip(held, share, strict=True):
            gradient[cell] += part
    return y, gradient


@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def output_and_gradient(module, x):
    y, pullback = jax.vjp(lambda value: module.apply({}, value), x)
    return y, *pullback(jnp.ones(y.shape))


pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
paddings = st.sampled_from(["valid", "same", 1, (0, 1), ((1, 0), (0, 1))])


@pytest.mark.parametrize("kind", ["max", "average", "blur"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_pooling_is_brute_force(kind, data):
    sizes = data.draw(st.tuples(st.integers(3, 8), st.integers(3, 8)))
    fields = {"window": data.draw(pairs), "strides": data.draw(pairs), "padding": data.draw(paddings)}
    partial, count_padding = data.draw(st.booleans()), data.draw(st.booleans())
    try:
        shape = pool_shape(sizes, partial=partial, **fields)
    except ConfigError:
        assume(False)
    # Few distinct values: windows hold their maximum more than once, and the first must get the gradient.
    x = np.random.default_rng(0).integers(0, 3, (2, *sizes, 2)).astype(np.float32)
    module = Pooling(kind, partial=partial, count_padding=count_padding, **fields)
    y, gradient = output_and_gradient(module, jnp.asarray(x))
    assert y.shape == (2, *shape, 2)
    for n, c in np.ndindex(2, 2):
        expected, slope = reference(kind, x[n, :, :, c], fields, shape, count_padding)
        assert_allclose(y[n, :, :, c], expected, rtol=1e-6, atol=1e-6)
        assert_allclose(gradient[n, :, :, c], slope, rtol=1e-6, atol=1e-6)


# --- derivatives


@pytest.mark.parametrize("window", [2, 3, 4])
def test_a_tie_gives_its_gradient_to_the_first_maximum(window):
    x = jnp.zeros((1, window, window, 1))
    for module in (Pooling("max", window), GlobalPooling("max")):
        gradient = np.asarray(output_and_gradient(module, x)[1])
        assert gradient[0, 0, 0, 0] == gradient.sum() == 1


@pytest.mark.parametrize(
    "module", [*slow(Pooling("max", (1, 300)), Pooling("max", 20)), Pooling("average", 20), Pooling("max", 2)]
)
def test_long_windows_and_empty_batches(module):
    """More positions than eight bits can number, and a reshape of nothing."""
    x = np.random.default_rng(0).normal(size=(1, 20, 300, 2)).astype(np.float32)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(x):
        y = module.apply({}, x)
        return y.sum(), y

    slope, y = gradient(x)
    assert_allclose(np.asarray(slope).sum(), y.size, rtol=1e-4)
    assert gradient(x[:0])[0].shape == (0, 20, 300, 2)


@pytest.mark.parametrize("strides", [1, 2])
def test_second_derivatives_go_to_the_first_maximum(strides):
    module = Pooling("max", 2, strides=strides)
    hessian = jax.hessian(lambda x: (module.apply({}, x.reshape(1, 2, 2, 1)) ** 2).sum())(jnp.ones(4))
    assert_array_equal(hessian, np.diag([2.0, 0, 0, 0]))


def test_max_pooling_conserves_the_gradient():
    x = jnp.round(jax.random.normal(jax.random.key(0), (2, 9, 9, 3)))
    for module in (Pooling("max"), Pooling("max", 3, 2, padding="same"), Pooling("max", 5, 2, partial=True)):
        y, gradient = output_and_gradient(module, x)
        assert gradient.sum() == y.size


@pytest.mark.parametrize("place", [(0, 0), (3, 2)])
def test_nan_is_never_hidden(place):
    x = jnp.ones((1, 4, 4, 1)).at[0, place[0], place[1], 0].set(jnp.nan)
    for module in (Pooling("max", 4), Pooling("max"), GlobalPooling("max")):
        y, _ = output_and_gradient(module, x)
        assert np.isnan(y).sum() == np.isnan(module.apply({}, x)).sum() == 1


def test_max_padding_never_wins():
    x = jnp.full((1, 3, 3, 1), -5.0)
    assert_array_equal(single(x[0, :, :, 0], Pooling("max", 3, 1, padding="same")), np.full((3, 3), -5.0))


# --- blur, global pooling, dtype, lanes


def test_blur_removes_what_a_stride_would_alias():
    checkers = np.indices((9, 9)).sum(0) % 2
    assert_allclose(single(checkers, Pooling("blur", 3, 2)), np.full((4, 4), 0.5))
    assert_allclose(single(np.ones((5, 5)), Pooling("blur", 3, 2, padding="same")), np.ones((3, 3)))
    impulse = np.zeros((5, 5))
    impulse[2, 2] = 16
    assert_allclose(single(impulse, Pooling("blur", 3, 1)), np.outer([1, 2, 1], [1, 2, 1]))


def test_global_pooling():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    assert_allclose(GlobalPooling("average").apply({}, x), np.asarray(x).mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert_array_equal(GlobalPooling("max").apply({}, x), np.asarray(x).max((1, 2)))


def test_bfloat16_keeps_its_dtype_and_adds_in_float32():
    x = jnp.ones((1, 32, 32, 2), jnp.bfloat16)
    for module in (
        Pooling("max"),
        Pooling("average", 32),
        Pooling("blur", 3),
        GlobalPooling("average"),
        GlobalPooling("max"),
    ):
        y = jax.jit(module.apply)({}, x)
        assert y.dtype == jnp.bfloat16
        assert_array_equal(y.astype(jnp.float32), 1)


@pytest.mark.parametrize("kind", ["max", "average", "blur"])
def test_lanes_and_jit_agree_with_single_calls(kind):
    x = jax.random.normal(jax.random.key(0), (3, 2, 7, 7, 2))
    gradient = jax.jit(jax.grad(lambda value: jnp.square(Pooling(kind, 3, 2).apply({}, value)).sum()))
    assert_allclose(jax.vmap(gradient)(x), jnp.stack([gradient(lane) for lane in x]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "shape", "error", "message"),
    [
        (Pooling("max"), (1, 1, 1, 3), ShapeError, "window 2 does not fit its 1x1 input"),
        (Pooling("max"), (1, 8), ShapeError, "expects a batch of images"),
        (Pooling("mean"), (1, 4, 4, 1), ConfigError, "'mean' is no kind of pooling"),
        (Pooling("max", padding=2), (1, 4, 4, 1), ConfigError, "must be smaller than the pooling window 2"),
        (Pooling("max", window=0), (1, 4, 4, 1), ConfigError, "window = 0"),
        (GlobalPooling("blur"), (1, 4, 4, 1), ConfigError, "'blur' is no kind of global pooling"),
    ],
)
def test_refusals(module, shape, error, message):
    with pytest.raises(error, match=message):
        module.apply({}, jnp.ones(shape))
