"""Layers against PyTorch's."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax.initialization import Initialization, Kernel
from cnnjax.nn import (
    BatchNormalization,
    Convolution,
    DropBlock,
    GlobalPooling,
    GroupNormalization,
    LayerNormalization,
    LocalResponseNormalization,
    Pooling,
    Resize,
    TransposedConvolution,
    activation,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
F = torch.nn.functional


def maps(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def nchw(x, requires_grad=False):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=requires_grad)


def nhwc(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def assert_same(ours, theirs, x, **tolerance):
    """Equal outputs and, for the cotangent y, equal gradients with respect to the input."""
    assert_all_same([(ours, theirs)], x, **tolerance)


def assert_all_same(pairs, x, **tolerance):
    """Of each pair of ours and theirs; ours by one program."""

    def output_and_gradient(ours, x):
        y, pullback = jax.vjp(ours, x)
        return y, pullback(y)[0]

    made = jax.jit(lambda x: [output_and_gradient(ours, x) for ours, _ in pairs])(jnp.asarray(x))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} | tolerance
    for (y, gradient), (_, theirs) in zip(made, pairs, strict=True):
        leaf = nchw(x, requires_grad=True)
        expected = theirs(leaf)
        expected.backward(expected.detach())
        assert_allclose(y, nhwc(expected), **tolerance)
        assert_allclose(gradient, nhwc(leaf.grad), **tolerance)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "dilation"), [(3, 1, 1, 1), (5, 2, 0, 1), (3, (2, 1), (2, 1), 2), (1, 2, 0, 1)]
)
def test_convolution(kernel, strides, padding, dilation, groups):
    x, bias = maps(2, 9, 8, 4), maps(6)
    weight = maps(kernel, kernel, 4 // groups, 6)
    module = Convolution(6, kernel, strides=strides, padding=padding, dilation=dilation, groups=groups)
    variables = {"params": {"kernel": jnp.asarray(weight), "bias": jnp.asarray(bias)}}
    theirs = torch.tensor(weight.transpose(3, 2, 0, 1).copy())
    assert_same(
        lambda value: module.apply(variables, value),
        lambda value: F.conv2d(value, theirs, torch.tensor(bias), strides, padding, dilation, groups),
        x,
        atol=1e-3,
    )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "extra", "dilation"),
    [
        (2, 2, 0, 0, 1),
        (3, 1, 1, 0, 1),
        (3, 2, 1, 1, 1),
        (4, (2, 3), (1, 0), (0, 2), 1),
        (3, (1, 2), (0, 2), (1, 1), (2, 3)),
        (2, (2, 1), (0, 3), (2, 2), 3),
        (1, 3, 0, 2, 1),
    ],
)
def test_transposed_convolution(kernel, strides, padding, extra, dilation, groups):
    """The gradient with respect to the kernel too, which the rows of the groups make PyTorch's."""
    x, weight, bias = maps(2, 4, 5, 4), maps(kernel, kernel, 4 // groups, 6), maps(6)
    module = TransposedConvolution(
        6, kernel, strides=strides, padding=padding, output_padding=extra, dilation=dilation, groups=groups
    )

    def converted(weight):
        parts = np.split(np.asarray(weight), groups, axis=-1)
        return torch.tensor(np.concatenate([part.transpose(2, 3, 0, 1) for part in parts]))

    def ours(value, weight=weight):
        return module.apply({"params": {"kernel": weight, "bias": bias}}, value)

    theirs = converted(weight).requires_grad_()
    assert_same(
        ours,
        lambda value: F.conv_transpose2d(value, theirs, torch.tensor(bias), strides, padding, extra, groups, dilation),
        x,
        atol=1e-3,
    )

    @jax.jit
    def gradient(weight):
        y, pullback = jax.vjp(lambda weight: ours(jnp.asarray(x), weight), weight)
        return pullback(y)[0]

    assert_allclose(converted(gradient(jnp.asarray(weight))), theirs.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(("window", "strides", "padding"), [(2, 2, 0), (3, 2, 1), (3, 2, 0), (2, 3, 1), (4, 3, 2)])
def test_pooling(window, strides, padding, partial):
    """Of rows and columns in odd and even number."""
    x = np.maximum(maps(2, 7, 8, 3), 0)  # Rectified maps have ties in almost every window.
    fields = {"strides": strides, "padding": padding, "partial": partial}
    theirs = {"stride": strides, "padding": padding, "ceil_mode": partial}
    maximum = Pooling("max", window, **fields), functools.partial(F.max_pool2d, kernel_size=window, **theirs)
    averages = [
        (
            Pooling("average", window, count_padding=counted, **fields),
            functools.partial(F.avg_pool2d, kernel_size=window, count_include_pad=counted, **theirs),
        )
        for counted in (False, True)
    ]
    assert_all_same([(functools.partial(ours.apply, {}), peer) for ours, peer in (maximum, *averages)], x)


@pytest.mark.parametrize("size", [(10, 12), (15, 6), (7, 11), (3, 2), (1, 4), (5, 6)])
def test_resize(size):
    x = maps(2, 5, 6, 3)
    rows = [
        (Resize(size=size, method="nearest"), {"size": size, "mode": "nearest-exact"}),
        (Resize(size=size, method="bilinear"), {"size": size, "mode": "bilinear", "align_corners": False}),
        (Resize((3, 2), method="nearest"), {"scale_factor": (3, 2)}),
    ]
    assert_all_same(
        [(functools.partial(ours.apply, {}), functools.partial(F.interpolate, **theirs)) for ours, theirs in rows], x
    )


@pytest.mark.parametrize(("kind", "theirs"), [("average", F.adaptive_avg_pool2d), ("max", F.adaptive_max_pool2d)])
def test_global_pooling(kind, theirs):
    x = np.maximum(maps(2, 5, 6, 3), 0)
    assert_same(lambda value: GlobalPooling(kind).apply({}, value)[:, None, None], lambda value: theirs(value, 1), x)


def test_batch_norm():
    x, params = maps(4, 5, 5, 3) * 2 + 1, {"scale": jnp.asarray(maps(3)), "bias": jnp.asarray(maps(3)) + 1}
    ours, theirs = BatchNormalization(momentum=0.9, epsilon=1e-5), torch.nn.BatchNorm2d(3, momentum=0.1, eps=1e-5)
    theirs.weight.data, theirs.bias.data = (torch.tensor(np.asarray(leaf)) for leaf in params.values())
    variables = ours.init(jax.random.key(0), jnp.asarray(x), train=False) | {"params": params}
    train = lambda value: ours.apply(variables, value, train=True, mutable=["batch_stats"])  # noqa: E731
    assert_same(lambda value: train(value)[0], theirs, x, atol=1e-4)
    variables |= train(jnp.asarray(x))[1]
    stats, count = variables["batch_stats"], 4 * 5 * 5
    assert_allclose(stats["mean"], theirs.running_mean.numpy(), rtol=1e-5)
    # PyTorch keeps the unbiased variance.
    unbiased = 0.9 + (np.asarray(stats["var"]) - 0.9) * count / (count - 1)
    assert_allclose(unbiased, theirs.running_var.numpy(), rtol=1e-5)
    theirs.running_var.copy_(torch.tensor(np.asarray(stats["var"])))
    assert_same(lambda value: ours.apply(variables, value, train=False), theirs.eval(), x)


def test_the_unbiased_running_variance_over_three_steps():
    x, theirs = maps(2, 3, 3, 4) * 2 + 1, torch.nn.BatchNorm2d(4, momentum=0.1)
    ours = BatchNormalization(momentum=0.9, running_variance="unbiased")
    variables = ours.init(jax.random.key(0), jnp.asarray(x), train=False)
    for batch in (x, x[:1] * 3, x + 1):
        theirs.train()(nchw(batch))
        variables |= ours.apply(variables, jnp.asarray(batch), train=True, mutable=["batch_stats"])[1]
    assert_allclose(variables["batch_stats"]["mean"], theirs.running_mean.numpy(), rtol=1e-5)
    assert_allclose(variables["batch_stats"]["var"], theirs.running_var.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GroupNormalization(2), lambda x: F.group_norm(x, 2)),
        (LayerNormalization("features"), lambda x: F.layer_norm(x, x.shape[1:])),
        (
            LayerNormalization("channels"),
            lambda x: F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2),
        ),
    ],
)
def test_group_and_layer_norm(ours, theirs):
    x = maps(3, 4, 5, 6) * 2 + 1
    variables = ours.init(jax.random.key(0), jnp.asarray(x))
    assert_same(lambda value: ours.apply(variables, value), theirs, x)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_local_response_norm_with_alpha_times_size(size):
    assert_same(
        lambda value: LocalResponseNormalization(size=size, alpha=0.1).apply({}, value),
        lambda value: F.local_response_norm(value, size, alpha=0.1 * size, beta=0.75, k=2.0),
        maps(2, 3, 3, 8),
    )


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("leaky_relu", F.leaky_relu),
        ("elu", F.elu),
        ("gelu", F.gelu),
        ("silu", F.silu),
        ("hard_swish", F.hardswish),
        ("relu6", F.relu6),
        ("softplus", F.softplus),
    ],
)
def test_activation(name, theirs):
    assert_same(activation(name), theirs, maps(2, 5, 5, 3) * 4)


@pytest.mark.parametrize("block", [3, 4])
def test_drop_block_keeps_as_much_as_timms(block):
    """In the middle of a map: timm lets blocks hang over its edge, and so drops less there."""
    drop_block_2d = pytest.importorskip("tests.torch_peers").timm.layers.drop_block_2d
    torch.manual_seed(0)
    ours = DropBlock(0.3, block).apply({}, jnp.ones((64, 11, 11, 64)), train=True, rngs={"dropout": jax.random.key(0)})
    theirs = drop_block_2d(torch.ones(64, 64, 11, 11), 0.3, block, couple_channels=False)
    middle = slice(4, 7)
    shares = [np.mean(np.asarray(y) != 0) for y in (ours[:, middle, middle], theirs[:, :, middle, middle])]
    gamma = 0.3 / block**2 * (11 / (11 - block + 1)) ** 2
    # 4,096 maps, whose middles deviate by at most 1/2.
    assert_allclose(shares, (1 - gamma) ** (block**2), atol=4 * 0.5 / 64)


# as PyTorch lays a weight out: (outputs, inputs of a group, rows, columns)
@pytest.mark.parametrize("shape", [(6, 4, 3, 5), (3, 7), (8, 8, 1, 1)])
def test_fans_and_deviations_of_initializations(shape):
    features, channels, *window = shape
    kernel = Kernel("kernel", shape, tuple(window), channels, features)
    assert (kernel.fan_in, kernel.fan_out) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    # Thousands of uniform numbers come within 1% of their bound.
    many = Kernel("kernel", (), tuple(window), channels, 2000)
    drawn = Initialization.from_tag("he_uniform").draw(many, jax.random.key(0))
    weight = torch.nn.init.kaiming_uniform_(torch.empty(2000, *shape[1:]), nonlinearity="relu")
    assert_allclose(jnp.abs(drawn).max(), weight.abs().max(), rtol=0.01)
