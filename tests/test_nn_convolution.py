"""Convolution and dense layers against the lectures' worked numbers and SciPy."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate

from cnnjax.arithmetic import conv_params, effective_kernel, output_shape, resolve_padding
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.nn import Convolution, FullyConnected

DIAGONAL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
WORKED = {
    "a": ([[1, 3, 1, 2], [6, 1, 5, 4], [5, 4, 2, 5], [3, 3, 1, 2]], [[1, 2], [2, 1]]),
    "b": (
        [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]],
        [[0, 1, 2], [2, 2, 0], [0, 1, 2]],
    ),
    "edge10": ([[10, 10, 10, 0, 0, 0]] * 6, [[1, 0, -1]] * 3),
    "edge8": ([[8, 8, 8, 0, 0, 0]] * 6, [[1, 0, -1]] * 3),
    "d": (
        [
            [1, 0, 0, 0, 0, 1],
            [0, 1, 0, 0, 1, 0],
            [0, 0, 1, 1, 0, 0],
            [1, 0, 0, 0, 1, 0],
            [0, 1, 0, 0, 1, 0],
            [0, 0, 1, 0, 1, 0],
        ],
        DIAGONAL,
    ),
}


def single(image, kernel, **fields):
    """One image, one channel, one feature."""
    x, w = (np.asarray(values, np.float32) for values in (image, kernel))
    module = Convolution(1, w.shape, bias=False, **fields)
    y = module.apply({"params": {"kernel": w[:, :, None, None]}}, jnp.asarray(x)[None, :, :, None])
    return np.asarray(y)[0, :, :, 0]


@pytest.mark.parametrize(
    ("case", "fields", "expected"),
    [
        ("a", {"padding": "valid"}, [[20, 12, 19], [22, 21, 22], [22, 15, 16]]),
        (
            "a",
            {"padding": 1},
            [[1, 5, 7, 4, 4], [8, 20, 12, 19, 10], [17, 22, 21, 22, 14], [13, 22, 15, 16, 9], [6, 9, 5, 5, 2]],
        ),
        ("a", {"padding": 1, "strides": 2}, [[1, 7, 4], [17, 21, 14], [6, 5, 2]]),
        ("b", {"padding": "valid"}, [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
        ("edge10", {"padding": "valid"}, [[0, 30, 30, 0]] * 4),
        ("edge8", {"padding": "valid"}, [[0, 24, 24, 0]] * 4),
    ],
)
def test_worked_convolutions(case, fields, expected):
    assert_array_equal(single(*WORKED[case], **fields), expected)


@pytest.mark.parametrize(("strides", "expected"), [(1, [3, -1]), (2, [3, -3])])
def test_first_outputs_of_the_diagonal_filter(strides, expected):
    assert_array_equal(single(*WORKED["d"], padding="valid", strides=strides)[0, :2], expected)


def letter_x():
    """The lecture's 9x9 image of an X: 1 on both diagonals of rows and columns 1 to 7, -1 elsewhere."""
    image = np.full((9, 9), -1)
    for i in range(1, 8):
        image[i, i] = image[i, 8 - i] = 1
    return image


def test_x_or_o():
    responses = single(letter_x(), DIAGONAL, padding="valid") / 9
    assert responses.shape == (7, 7)
    # The lecture cuts the digits after the second, it does not round them.
    assert_array_equal(np.trunc(responses[0] * 100), [77, -11, 11, 33, 55, -11, 33])
    assert np.trunc(responses[3, 3] * 100) == 55


def reference(x, kernel, pads, strides, dilation, groups):
    """SciPy's correlation of zero-padded maps with a kernel spread by zeros, summed over each group's channels."""
    spans = (effective_kernel(f, dilation=d) for f, d in zip(kernel.shape[:2], dilation, strict=True))
    spread = np.zeros((*spans, *kernel.shape[2:]))
    spread[:: dilation[0], :: dilation[1]] = kernel
    # Both in double precision: SciPy casts uninitialized memory where the dtypes differ.
    padded = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    inputs, features = kernel.shape[2], kernel.shape[3] // groups
    maps = []
    for feature in range(kernel.shape[3]):
        first = feature // features * inputs
        weights = spread[None, :, :, :, feature]
        maps.append(correlate(padded[..., first : first + inputs], weights, mode="valid", method="direct")[..., 0])
    return np.stack(maps, -1)[:, :: strides[0], :: strides[1]]


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.sampled_from(["same", "valid", "full", 0, 1, 2, (1, 2), ((0, 1), (2, 0))])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_convolution_is_scipys_correlation(data):
    sizes, kernel_size, strides, dilation = (
        data.draw(st.tuples(st.integers(3, 8), st.integers(3, 8))),
        *(data.draw(pairs) for _ in range(3)),
    )
    padding, groups = data.draw(paddings), data.draw(st.integers(1, 3))
    inputs, features = groups * data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 2))
    fields = {"strides": strides, "padding": padding, "dilation": dilation}
    try:
        shape = output_shape(sizes, kernel=kernel_size, **fields)
    except ShapeError:
        assume(False)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *sizes, inputs)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, inputs // groups, features)).astype(np.float32)
    bias = rng.normal(size=features).astype(np.float32)
    module = Convolution(features, kernel_size, groups=groups, **fields)
    y = jax.jit(module.apply)({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(x))
    pads = resolve_padding(padding, sizes, kernel=kernel_size, strides=strides, dilation=dilation)
    assert y.shape == (2, *shape, features)
    # Sums of at most 18 products of unit normals in float32.
    assert_allclose(y, reference(x, kernel, pads, strides, dilation, groups) + bias, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_computes_in_the_dtype_of_the_input(dtype):
    x = jnp.ones((2, 6, 6, 4), dtype)
    for module, value in ((Convolution(8, 3, groups=2), x), (FullyConnected(8), x.reshape(2, -1))):
        y, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), value)
        assert y.dtype == dtype
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def shapes(module, shape):
    return jax.eval_shape(module.init, jax.random.key(0), jnp.ones(shape))["params"]


def test_parameters():
    params = shapes(Convolution(10, 5), (1, 32, 32, 3))
    assert {name: value.shape for name, value in params.items()} == {"kernel": (5, 5, 3, 10), "bias": (10,)}
    assert sum(value.size for value in params.values()) == conv_params(5, inputs=3, features=10)
    grouped = shapes(Convolution(6, (1, 3), groups=2, bias=False), (1, 8, 8, 4))
    assert {name: value.shape for name, value in grouped.items()} == {"kernel": (1, 3, 2, 6)}


def test_default_kernels_keep_the_scale_of_the_signal():
    """He et al. 2015: variance 2 / fan-in for a convolution; LeCun: 1 / fan-in for a dense layer."""
    kernel = jax.jit(Convolution(256, 3).init)(jax.random.key(0), jnp.ones((1, 4, 4, 64)))["params"]["kernel"]
    assert_allclose(kernel.std(), (2 / (9 * 64)) ** 0.5, rtol=0.02)
    dense = jax.jit(FullyConnected(512).init)(jax.random.key(0), jnp.ones((1, 256)))["params"]["kernel"]
    assert_allclose(dense.std(), (1 / 256) ** 0.5, rtol=0.02)


def test_dense_is_a_matrix_product():
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 5), (5, 3), (3,)))
    y = FullyConnected(3).apply({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(x))
    assert_allclose(y, x @ kernel + bias, rtol=1e-5, atol=1e-6)
    assert shapes(FullyConnected(3, bias=False), x.shape).keys() == {"kernel"}


def test_many_lanes_and_jit_agree_with_single_calls():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    module = Convolution(4, 3, strides=2)
    keys = jax.random.split(jax.random.key(1), 3)
    lanes = jax.jit(jax.vmap(module.init, (0, None)))(keys, x)
    packed = jax.jit(jax.vmap(module.apply, (0, None)))(lanes, x)
    alone = [jax.jit(module.apply)(jax.tree.map(lambda leaf, i=i: leaf[i], lanes), x) for i in range(3)]
    assert_allclose(packed, jnp.stack(alone), rtol=1e-5, atol=1e-5)


class Net(nn.Module):
    """Two levels of names over the module under test."""

    layer: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.layer.copy(name="conv4")(x)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (
            Convolution(8, 5, padding="valid"),
            (1, 4, 4, 3),
            "conv4: kernel 5 does not fit its 4x4 input (valid padding); output would be 0x0",
        ),
        (Convolution(8, 3, groups=2), (1, 4, 4, 3), "conv4: 3 input channels do not divide into 2 groups; 3 % 2 = 1"),
        (
            Convolution(8, 3),
            (4, 4, 3),
            "conv4: expects a batch of images (batch, height, width, channels), not shape (4, 4, 3)",
        ),
        (
            FullyConnected(8),
            (1, 4, 4, 3),
            "conv4: a dense layer expects (batch, inputs), not shape (1, 4, 4, 3): flatten first",
        ),
    ],
)
def test_shape_errors_name_the_layer(module, shape, message):
    with pytest.raises(ShapeError) as caught:
        jax.eval_shape(Net(module.clone(parent=None)).init, jax.random.key(0), jnp.ones(shape))
    assert str(caught.value) == message


@pytest.mark.parametrize("fields", [{"strides": 0}, {"padding": "sane"}, {"dilation": (1, 2, 3)}, {"groups": 0}])
def test_bad_fields(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        Convolution(8, 3, **fields).init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))


@pytest.mark.parametrize("module", [Convolution(8, 3), FullyConnected(8)])
def test_integer_images_are_refused(module):
    with pytest.raises(ShapeError, match="not uint8"):
        module.init(jax.random.key(0), jnp.ones((1, 4, 4, 3), jnp.uint8))
