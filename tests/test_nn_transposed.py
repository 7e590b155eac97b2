"""Transposed convolution against worked numbers, SciPy's convolution and its definition as an adjoint."""

from __future__ import annotations

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import convolve as scipy_convolve

from cnnjax.arithmetic import (
    conv_params,
    output_shape,
    resolve_padding,
    transposed_macs,
    transposed_padding,
    transposed_shape,
)
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.lowering import LOWERINGS, lowering
from cnnjax.nn import Convolution, TransposedConvolution, bilinear_kernel

FOUR = [[1, 2], [3, 4]]


def single(image, kernel, **fields):
    """One image, one channel, one feature."""
    x, w = (np.asarray(values, np.float32) for values in (image, kernel))
    module = TransposedConvolution(1, w.shape, bias=False, **fields)
    return np.asarray(module.apply({"params": {"kernel": w[:, :, None, None]}}, x[None, :, :, None]))[0, :, :, 0]


@pytest.mark.parametrize(
    ("kernel", "fields", "expected"),
    [
        # A kernel as large as the stride: the kernels stand side by side.
        (
            [[1, 10], [100, 1000]],
            {"strides": 2},
            [[1, 10, 2, 20], [100, 1000, 200, 2000], [3, 30, 4, 40], [300, 3000, 400, 4000]],
        ),
        # Larger than the stride: they overlap, and overlaps add up.
        ([[1, 1, 1]] * 3, {"padding": "valid"}, [[1, 3, 3, 2], [4, 10, 10, 6], [4, 10, 10, 6], [3, 7, 7, 4]]),
        ([[1, 1, 1]] * 3, {"padding": "same"}, [[10, 10], [10, 10]]),
        # As large as its input would be; the last column is cut from the left and kept at the right.
        ([[1, 2, 3]], {"strides": (1, 2), "padding": (0, 1), "output_padding": (0, 1)}, [[2, 5, 4, 6], [6, 13, 8, 12]]),
        # Smaller than the stride: gaps.
        ([[5]], {"strides": 2}, [[5, 0, 10, 0], [0, 0, 0, 0], [15, 0, 20, 0], [0, 0, 0, 0]]),
        ([[1, 2], [3, 4]], {"padding": "full"}, [[1 * 4 + 2 * 3 + 3 * 2 + 4 * 1]]),
    ],
)
def test_worked_numbers(kernel, fields, expected):
    assert_array_equal(single(FOUR, kernel, **fields), expected)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.sampled_from(["same", "valid", "full", 0, 1, 2, (1, 2), ((0, 1), (2, 0))])


def drawn(data):
    """Sizes, and the fields of a transposed convolution that fits them."""
    sizes, kernel, strides, dilation = (data.draw(pairs) for _ in range(4))
    padding = data.draw(paddings)
    most = [0 if padding == "same" else max(s, d) - 1 for s, d in zip(strides, dilation, strict=True)]
    extra = tuple(data.draw(st.integers(0, n)) for n in most)
    fields = {"strides": strides, "padding": padding, "dilation": dilation, "output_padding": extra}
    try:
        shape = transposed_shape(sizes, kernel=kernel, **fields)
    except ShapeError:
        assume(False)
    return sizes, kernel, fields, shape


def reference(x, kernel, fields, shape, groups):
    """SciPy's full convolution of maps spread by zeros with a spread kernel, cut to `shape` after the padding."""
    strides, dilation, padding = fields["strides"], fields["dilation"], fields["padding"]
    before = resolve_padding(padding, shape, kernel=kernel.shape[:2], strides=strides, dilation=dilation)
    spread = np.zeros((len(x), *(n * s for n, s in zip(x.shape[1:3], strides, strict=True)), x.shape[3]))
    spread[:, :: strides[0], :: strides[1]] = x
    taps = np.zeros((*((f - 1) * d + 1 for f, d in zip(kernel.shape[:2], dilation, strict=True)), *kernel.shape[2:]))
    taps[:: dilation[0], :: dilation[1]] = kernel
    inputs, features = kernel.shape[2], kernel.shape[3] // groups
    y = np.zeros((len(x), *shape, kernel.shape[3]))
    for image in range(len(x)):
        for feature in range(kernel.shape[3]):
            for channel in range(inputs):
                at = feature // features * inputs + channel
                full = scipy_convolve(spread[image, :, :, at], taps[:, :, channel, feature], method="direct")
                full = np.pad(full, [(0, 3), (0, 3)])[before[0][0] :, before[1][0] :]
                y[image, :, :, feature] += full[: shape[0], : shape[1]]
    return y


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_it_is_scipys_convolution_of_spread_maps(data):
    sizes, kernel_size, fields, shape = drawn(data)
    groups = data.draw(st.integers(1, 2))
    inputs, features = data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 2))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *sizes, groups * inputs)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, inputs, features)).astype(np.float32)
    bias = rng.normal(size=features).astype(np.float32)
    module = TransposedConvolution(features, kernel_size, groups=groups, **fields)
    y = module.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    # Sums of at most 18 products of unit normals in float32.
    assert_allclose(y, reference(x, kernel, fields, shape, groups) + bias, atol=2e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_sizes_lead_back(data):
    """The convolution with `transposed_padding` takes the output's size to the input's, and is the adjoint."""
    sizes, kernel_size, fields, shape = drawn(data)
    padding = transposed_padding(sizes, kernel=kernel_size, **fields)
    if min(map(min, padding)) >= 0:
        geometry = {name: fields[name] for name in ("strides", "dilation")}
        assert output_shape(shape, kernel=kernel_size, padding=padding, **geometry) == sizes
    if fields["padding"] == "same":
        assert shape == tuple(n * s for n, s in zip(sizes, fields["strides"], strict=True))
        assert resolve_padding("same", shape, kernel=kernel_size, **geometry) == padding


def test_it_is_the_adjoint_of_the_convolution():
    """<convolution(y), x> = <y, transposed convolution(x)>, with the inputs and outputs of the kernel exchanged."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        kernel = jnp.asarray(rng.normal(size=(3, 2, 4, 5)))
        y, x = jnp.asarray(rng.normal(size=(2, 7, 8, 5))), jnp.asarray(rng.normal(size=(2, 4, 4, 4)))
        fields = {"kernel_size": (3, 2), "strides": 2, "bias": False}
        there = Convolution(4, **fields).apply({"params": {"kernel": kernel.swapaxes(2, 3)}}, y)
        fields |= {"padding": ((1, 1), (0, 0))}
        back = TransposedConvolution(5, **fields).apply({"params": {"kernel": kernel}}, x)
        assert_allclose((there * x).sum(), (y * back).sum(), rtol=1e-12)


def by_lax(x, kernel, fields, groups):
    """What XLA does for a map with zeros between its units and the flipped kernel."""
    strides, dilation, kernel_size = fields["strides"], fields["dilation"], kernel.shape[:2]
    shape = transposed_shape(x.shape[1:3], kernel=kernel_size, **fields)
    lows = transposed_padding(x.shape[1:3], kernel=kernel_size, **fields)
    spans = [(f - 1) * d for f, d in zip(kernel_size, dilation, strict=True)]
    ends = [(n - 1) * s for n, s in zip(x.shape[1:3], strides, strict=True)]
    padding = [(e - low, n - end - 1 + low) for e, (low, _), n, end in zip(spans, lows, shape, ends, strict=True)]
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), padding, strides, dilation, dimension_numbers=numbers, feature_group_count=groups
    )


@pytest.mark.parametrize("name", LOWERINGS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.data())
def test_every_lowering_and_its_gradients(name, data):
    sizes, kernel_size, fields, _ = drawn(data)
    groups = data.draw(st.integers(1, 2))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *sizes, 2 * groups)).astype(np.float32))
    kernel = jnp.asarray(rng.normal(size=(*kernel_size, 2, 3 * groups)).astype(np.float32))
    module = TransposedConvolution(3 * groups, kernel_size, groups=groups, bias=False, **fields)

    def ours(x, kernel):
        return module.apply({"params": {"kernel": kernel}}, x)

    def all_of(function, x, kernel):
        y, pullback = jax.vjp(function, x, kernel)
        return y, pullback(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))

    # As arguments: what is constant the compiler works out by other code than what runs.
    with lowering(name):
        found = jax.jit(partial(all_of, ours))(x, kernel)
    expected = jax.jit(partial(all_of, partial(by_lax, fields=fields, groups=groups)))(x, kernel)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_same_is_that_of_lax_and_flax():
    x, kernel = (jnp.asarray(np.random.default_rng(0).normal(size=shape)) for shape in ((1, 4, 5, 2), (3, 4, 2, 3)))
    for strides in (1, 2, 3):
        fields = {"strides": strides, "bias": False}
        y = TransposedConvolution(3, (3, 4), **fields).apply({"params": {"kernel": kernel}}, x)
        theirs = lax.conv_transpose(
            x, kernel[::-1, ::-1], (strides,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        assert_allclose(y, theirs, rtol=1e-5, atol=1e-5)


def test_parameters_and_the_scale_of_the_signal():
    module = TransposedConvolution(256, 4, strides=2, groups=2)
    params = jax.jit(module.init)(jax.random.key(0), jnp.ones((1, 4, 4, 64)))["params"]
    assert {name: value.shape for name, value in params.items()} == {"kernel": (4, 4, 32, 256), "bias": (256,)}
    assert sum(value.size for value in params.values()) == conv_params(4, inputs=64, features=256, groups=2)
    # An output meets 2x2 of the 4x4 positions of 32 channels: He's variance is 2 / 128.
    assert_allclose(params["kernel"].std(), (2 / 128) ** 0.5, rtol=0.02)
    assert transposed_macs((5, 6), kernel=4, inputs=64, features=256, groups=2) == 30 * 16 * 32 * 256


@pytest.mark.parametrize(("strides", "groups"), [(2, 1), (3, 1), (2, 3)])
def test_the_bilinear_kernel_enlarges(strides, groups):
    size = 2 * strides - strides % 2
    module = TransposedConvolution(3, size, strides=strides, groups=groups, kernel_init=bilinear_kernel, bias=False)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 4, 3)).astype(np.float32))
    y, variables = module.init_with_output(jax.random.key(0), x)
    assert prod(variables["params"]["kernel"].shape) == size * size * 3 * 3 // groups
    theirs = jax.image.resize(x, y.shape, "bilinear")
    inner = slice(strides, -strides)  # At the edge one repeats pixels, the other has zeros beyond.
    assert_allclose(y[:, inner, inner], theirs[:, inner, inner], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"padding": 3},
            ShapeError,
            r"transposed kernel 3 leaves nothing of its 2x2 input: \(2 - 1\) x stride 1 \+ 3 - padding 3 - 3 = -2",
        ),
        ({"groups": 2}, ShapeError, "3 input channels do not divide into 2 groups"),
        ({"output_padding": 1}, ConfigError, r"output_padding = 1: not with padding 'same', whose output is stride x"),
        ({"padding": 0, "output_padding": 2, "strides": 2}, ConfigError, r"must be less than the strides \(2, 2\)"),
        ({"padding": 0, "output_padding": (1, 1, 1)}, ConfigError, "a count >= 0, or 2 of them"),
        ({"padding": "sane"}, ConfigError, "padding"),
        ({"strides": 0}, ConfigError, "strides"),
        ({"kernel_init": bilinear_kernel}, ConfigError, "4 features are no multiple of 3"),
    ],
)
def test_what_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        TransposedConvolution(4, 3, **fields).init(jax.random.key(0), jnp.ones((1, 2, 2, 3)))


def test_integer_maps_are_refused():
    with pytest.raises(ShapeError, match="not uint8"):
        TransposedConvolution(4, 3).init(jax.random.key(0), jnp.ones((1, 2, 2, 3), jnp.uint8))
