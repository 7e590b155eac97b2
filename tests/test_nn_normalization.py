"""Normalization layers against their formulas in NumPy, on one device and on many."""

from __future__ import annotations

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax.errors import ConfigError, ShapeError
from cnnjax.nn import (
    NORMALIZATIONS,
    BatchNormalization,
    Convolution,
    GroupNormalization,
    LayerNormalization,
    LocalResponseNormalization,
    NoNormalization,
    manual_axes,
    normalization,
    shards,
)
from tests.marks import slow

KINDS = {
    "batch": {},
    "frozen": {},
    "group": {"groups": 2},
    "layer": {},
    "local_response": {},
    "none": {},
}


def maps(*shape, mean=0.0):
    return jnp.asarray(np.random.default_rng(0).normal(mean, 1, shape), jnp.float32)


def standardized(x, axes, epsilon=1e-5):
    x = np.asarray(x, np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def learn(module, x, variables=None):
    """Output and new variables of one training call."""
    variables = variables or jax.jit(partial(module.init, train=False))(jax.random.key(0), x)
    y, changed = jax.jit(partial(module.apply, train=True, mutable=["batch_stats"]))(variables, x)
    return y, variables | changed


# --- every kind


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(4, 5, 5, 8), (4, 8)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shape_and_dtype_are_kept(kind, shape, dtype):
    module, x = normalization(kind, **KINDS[kind]), jnp.ones(shape, dtype)
    y, variables = jax.eval_shape(partial(module.init_with_output, train=True), jax.random.key(0), x)
    assert (y.shape, y.dtype) == (shape, dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype("float32")}
    sizes = {name: leaf.shape for name, leaf in variables.get("params", {}).items()}
    assert sizes == ({} if kind in ("frozen", "local_response", "none") else {"scale": (8,), "bias": (8,)})
    assert variables.keys() - {"params"} == ({"batch_stats"} if kind in ("batch", "frozen") else set())


def test_unknown_kind():
    with pytest.raises(ConfigError, match=r"'bach' is no normalization\. Did you mean 'batch'"):
        normalization("bach")


@pytest.mark.parametrize("kind", ["batch", "group", "layer"])
def test_learned_scale_and_bias(kind):
    x, fields = maps(4, 3, 3, 4), KINDS[kind]
    scale, bias = jnp.arange(4.0), jnp.arange(4.0) + 10
    plain, _ = learn(normalization(kind, scale=False, bias=False, **fields), x)
    module = normalization(kind, **fields)
    variables = module.init(jax.random.key(0), x, train=False) | {"params": {"scale": scale, "bias": bias}}
    assert_allclose(
        learn(module, x, variables)[0], np.asarray(plain) * np.asarray(scale) + np.asarray(bias), rtol=1e-5, atol=1e-5
    )
    zero = normalization(kind, scale_init=nn.initializers.zeros, **fields)
    assert_array_equal(learn(zero, x)[0], 0)


def test_centring_at_a_constant_loses_no_second_derivative():
    def plain(x):
        return (x - x.mean((0, 1), keepdims=True)) * jax.lax.rsqrt(x.var((0, 1), keepdims=True) + 1e-5)

    def ours(x):
        return module.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    module, x = BatchNormalization(), maps(3, 2, 2)
    variables = module.init(jax.random.key(0), x, train=False)
    for derivative in (jax.grad, jax.hessian):
        found, expected = (jax.jit(derivative(lambda x, f=f: jnp.sin(f(x)).sum()))(x) for f in (ours, plain))
        assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# --- batch normalization


def test_batch_norm_standardizes_and_keeps_running_statistics():
    x = maps(6, 4, 4, 3, mean=2)
    module = BatchNormalization(momentum=0.75)
    y, variables = learn(module, x)
    assert_allclose(y, standardized(x, (0, 1, 2)), rtol=1e-4, atol=1e-5)
    stats = jax.tree.map(np.asarray, variables["batch_stats"])
    assert_allclose(stats["mean"], 0.25 * np.asarray(x).mean((0, 1, 2)), rtol=1e-5)
    assert_allclose(stats["var"], 0.75 + 0.25 * np.asarray(x).var((0, 1, 2)), rtol=1e-5)
    expected = (np.asarray(x) - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    assert_allclose(module.apply(variables, x, train=False), expected, rtol=1e-5, atol=1e-5)


def test_batch_norm_equals_flax():
    x = maps(6, 4, 4, 3)
    y, variables = learn(BatchNormalization(momentum=0.9), x)
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
    expected, changed = theirs.init_with_output(jax.random.key(0), x)
    expected, changed = theirs.apply(changed, x, mutable=["batch_stats"])
    assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(partial(assert_allclose, rtol=1e-5, atol=1e-7), variables["batch_stats"], changed["batch_stats"])


def test_a_large_mean_loses_no_digits():
    """E[x^2] - E[x]^2 would be off by half here: float32 holds 1000^2 to 0.06, the variance is 0.01."""
    x = maps(64, 4, 4, 2) * 0.1 + 1000
    y, variables = learn(BatchNormalization(momentum=0.0), x)
    assert_allclose(variables["batch_stats"]["var"], np.asarray(x, np.float64).var((0, 1, 2)), rtol=1e-3)
    # The spacing of float32 at 1000 is 6e-5, 6e-4 of the standard deviation.
    assert_allclose(y, standardized(x, (0, 1, 2)), atol=5e-3)


def test_initializing_leaves_the_running_statistics_alone():
    stats = BatchNormalization(group=32).init(jax.random.key(0), maps(1, 2, 2, 3), train=True)["batch_stats"]
    assert_array_equal(stats["mean"], 0)
    assert_array_equal(stats["var"], 1)


def test_ghost_batches():
    x = maps(8, 3, 3, 2)
    y, variables = learn(BatchNormalization(momentum=0.0, group=2), x)
    parts = np.asarray(x).reshape(4, 2, 3, 3, 2)
    assert_allclose(y, standardized(parts, (1, 2, 3)).reshape(x.shape), rtol=1e-4, atol=1e-5)
    assert_allclose(variables["batch_stats"]["mean"], parts.mean((1, 2, 3)).mean(0), rtol=1e-4, atol=1e-6)
    assert_allclose(variables["batch_stats"]["var"], parts.var((1, 2, 3)).mean(0), rtol=1e-4)
    # At inference the running statistics serve any batch.
    assert BatchNormalization(group=2).apply(variables, x[:3], train=False, mutable=False).shape == (3, 3, 3, 2)


def test_the_unbiased_running_varianceiance_is_that_of_each_group():
    x = maps(8, 3, 3, 2)
    for group, axes in (("global", (0, 1, 2)), ("device", (0, 1, 2)), (2, (1, 2, 3))):
        parts = np.asarray(x).reshape(4, 2, 3, 3, 2) if group == 2 else np.asarray(x)
        y, variables = learn(BatchNormalization(momentum=0.0, group=group, running_variance="unbiased"), x)
        expected = parts.var(axes, ddof=1).reshape(-1, 2).mean(0)
        assert_allclose(variables["batch_stats"]["var"], expected, rtol=1e-4)
        # What is remembered is all that differs.
        assert_array_equal(y, learn(BatchNormalization(momentum=0.0, group=group), x)[0])


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
def test_running_statistics_over_three_steps(variance):
    """The biased one as Flax's own layer keeps it, the unbiased as NumPy counts it (and PyTorch: test_torch_nn)."""
    batches = [maps(2, 3, 2, 2), maps(3, 3, 2, 2) + 1, maps(2, 2, 2, 2) * 3]
    ours, theirs = BatchNormalization(running_variance=variance), nn.BatchNorm(momentum=0.9)
    held, flax = (
        module.init(jax.random.key(0), batches[0], **mode)
        for module, mode in ((ours, {"train": False}), (theirs, {"use_running_average": False}))
    )
    by_hand = np.ones(2)
    for x in batches:
        held |= ours.apply(held, x, train=True, mutable=["batch_stats"])[1]
        flax |= theirs.apply(flax, x, use_running_average=False, mutable=["batch_stats"])[1]
        by_hand = 0.9 * by_hand + 0.1 * np.asarray(x).var((0, 1, 2), ddof=1)
    expected = flax["batch_stats"]["var"] if variance == "biased" else by_hand
    assert_allclose(held["batch_stats"]["var"], expected, rtol=1e-5)
    assert_allclose(held["batch_stats"]["mean"], flax["batch_stats"]["mean"], rtol=1e-5, atol=1e-6)


def test_one_value_has_no_unbiased_variance():
    module, x = BatchNormalization(running_variance="unbiased"), jnp.ones((1, 1, 1, 2))
    variables = module.init(jax.random.key(0), x, train=True)
    assert module.apply(variables, x, train=False).shape == x.shape
    with pytest.raises(ShapeError, match="one value a channel has no unbiased variance"):
        module.apply(variables, x, train=True, mutable=["batch_stats"])
    with pytest.raises(ConfigError, match="'unbiassed' is no running variance. Did you mean 'unbiased'"):
        BatchNormalization(running_variance="unbiassed").apply(variables, x, train=True, mutable=["batch_stats"])


class Block(nn.Module):
    group: str | int

    @nn.compact
    def __call__(self, x):
        return BatchNormalization(group=self.group, name="norm")(x, train=True)


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        (3, ShapeError, "norm: a batch of 8 does not divide by 3 examples a ghost batch; 8 % 3 = 2"),
        (0, ConfigError, "norm: group = 0: must be at least 1 example"),
        ("host", ConfigError, "norm: group = 'host': must be 'global', 'device' or a number of examples"),
    ],
)
def test_refused_groups(group, error, message):
    variables = {"params": {"norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}}
    variables["batch_stats"] = {"norm": {"mean": jnp.ones(2), "var": jnp.ones(2)}}
    with pytest.raises(error) as caught:
        Block(group).apply(variables, jnp.ones((8, 2)), mutable=["batch_stats"])
    assert str(caught.value) == message


# --- many devices


class Net(nn.Module):
    """Convolution, batch normalization, and outputs on which every example of a group has an influence."""

    group: str | int
    running_variance: str = "biased"

    @nn.compact
    def __call__(self, x):
        # A bias before a normalization has no gradient, only rounding errors.
        norm = BatchNormalization(group=self.group, momentum=0.5, running_variance=self.running_variance)
        x = norm(Convolution(4, 1, bias=False)(x), train=True)
        return jnp.tanh(x).sum((1, 2, 3))


def step(net, variables, x, *, average=lambda values: values):
    """The outputs, and the gradient of the mean of their squares over the global batch; new statistics."""

    def loss(params):
        y, changed = net.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return average(jnp.square(y).mean()), (y, changed["batch_stats"])

    (_, (y, stats)), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return y, stats, gradient


@cache
def on_one_device(group):
    x = maps(16, 3, 3, 2)
    variables = jax.jit(Net(group).init)(jax.random.key(0), x)
    return variables, x, jax.jit(partial(step, Net(group)))(variables, x)


def over_devices(net, variables, x, wrapper, devices):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    everywhere, batch = PartitionSpec(), PartitionSpec("data")
    if wrapper == "jit":
        with jax.set_mesh(mesh):
            x = jax.device_put(x, NamedSharding(mesh, batch))
            return jax.jit(partial(step, net))(variables, x)
    if wrapper == "shard_map":
        # Inside shard_map the gradient of a replicated parameter is summed over devices by itself.
        local = partial(step, net, average=lambda values: jax.lax.pmean(values, "data"))
        manual = jax.shard_map(
            local, mesh=mesh, in_specs=(everywhere, batch), out_specs=(batch, everywhere, everywhere)
        )
        return jax.jit(manual)(variables, x)
    y, stats, gradient = jax.pmap(partial(step, net), in_axes=(None, 0), devices=jax.devices()[:devices])(
        variables, x.reshape(devices, -1, *x.shape[1:])
    )
    for leaf in jax.tree.leaves(stats):
        assert (np.asarray(leaf) == np.asarray(leaf[:1])).all(), "replicas must keep equal statistics"
    first = jax.tree.map(lambda leaf: leaf[0], stats)
    return y.reshape(-1), first, jax.tree.map(lambda leaf: leaf.mean(0), gradient)


@pytest.mark.parametrize("wrapper", ["jit", "shard_map", "pmap"])
@pytest.mark.parametrize("devices", [2, *slow(8)])
@pytest.mark.parametrize("group", ["global", "device", *slow(2)])
def test_devices_agree_with_one_device(group, devices, wrapper):
    # On one device, the part of a device is a ghost batch of that many examples.
    variables, x, expected = on_one_device(16 // devices if group == "device" else group)
    found = over_devices(Net(group), variables, x, wrapper, devices)
    jax.tree.map(partial(assert_allclose, rtol=2e-4, atol=2e-6), found, expected)


@pytest.mark.parametrize("wrapper", ["jit", *slow("shard_map", "pmap")])
@pytest.mark.parametrize("group", ["global", "device", 2])
def test_devices_agree_on_the_unbiased_variance(group, wrapper):
    variables, x, (_, stats, _) = on_one_device(8 if group == "device" else group)
    # Of 16 examples of 3x3, in one group, one for each of two devices, or eight; from 1 by half of the way.
    values = {"global": 16, "device": 8}.get(group, group) * 9
    expected = 0.5 + (stats["BatchNormalization_0"]["var"] - 0.5) * values / (values - 1)
    _, found, _ = over_devices(Net(group, "unbiased"), variables, x, wrapper, 2)
    assert_allclose(found["BatchNormalization_0"]["var"], expected, rtol=2e-4)
    assert_allclose(found["BatchNormalization_0"]["mean"], stats["BatchNormalization_0"]["mean"], rtol=2e-4, atol=2e-6)


def test_a_batch_that_does_not_divide_among_devices():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh), pytest.raises(ShapeError, match="a batch of 12 does not divide by 8 devices"):
        learn(BatchNormalization(group="device"), jnp.ones((12, 3)))


def test_the_mesh_is_seen_from_inside():
    assert (manual_axes(), shards()) == ((), 1)
    mesh = jax.make_mesh((2, 4), ("host", "chip"), axis_types=(AxisType.Auto,) * 2)
    seen = []

    def look(x):
        seen.append((manual_axes(), shards()))
        return x

    batch = PartitionSpec(("host", "chip"))
    jax.jit(jax.shard_map(look, mesh=mesh, in_specs=batch, out_specs=batch))(jnp.ones(8))
    jax.pmap(look, axis_name="batch")(jnp.ones(8))
    with jax.set_mesh(mesh):
        jax.jit(look)(jnp.ones(8))
    assert seen == [(("host", "chip"), 1), (("batch",), 1), ((), 8)]


# --- the other kinds


@pytest.mark.parametrize(("groups", "width", "size"), [(1, 3, 3), (2, 2, 1), (3, 1, 2), (4, 3, 4)])
def test_group_norm_is_its_formula(groups, width, size):
    x = maps(2, size, size + 1, groups * width) * 3 + 1
    y, _ = learn(GroupNormalization(groups), x)
    parts = np.asarray(x).reshape(2, size, size + 1, groups, width)
    assert_allclose(y, standardized(parts, (1, 2, 4)).reshape(x.shape), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("axes", "over"), [("channels", 3), ("features", (1, 2, 3))])
def test_layer_norm_is_its_formula(axes, over):
    x = maps(2, 4, 5, 6) * 3 + 1
    assert_allclose(learn(LayerNormalization(axes), x)[0], standardized(x, over), rtol=1e-4, atol=1e-5)


def test_one_group_is_layer_norm_over_features():
    x = maps(2, 4, 5, 6)
    assert_allclose(
        learn(GroupNormalization(1), x)[0], learn(LayerNormalization("features"), x)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_local_response_norm_is_krizhevskys_formula(size):
    x, alpha, beta, k = np.asarray(maps(2, 2, 2, 7)), 0.1, 0.75, 2.0
    y = LocalResponseNormalization(size=size, alpha=alpha).apply({}, jnp.asarray(x), train=True)
    for i in range(7):
        near = x[..., max(0, i - size // 2) : i + (size - 1) // 2 + 1]
        assert_allclose(y[..., i], x[..., i] / (k + alpha * (near**2).sum(-1)) ** beta, rtol=1e-5)


def test_no_norm():
    x = maps(2, 3)
    assert NoNormalization().apply({}, x, train=True) is x


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (GroupNormalization(32), ShapeError, "6 channels do not divide into 32 groups; 6 % 32 = 6"),
        (LayerNormalization("rows"), ConfigError, "'rows' is no choice of axes"),
        (LocalResponseNormalization(size=0), ConfigError, "must be positive"),
    ],
)
def test_refusals(module, error, message):
    with pytest.raises(error, match=message):
        module.init(jax.random.key(0), jnp.ones((2, 6)), train=False)


@pytest.mark.parametrize("kind", ["batch", "group", "layer", "local_response"])
def test_integer_images_are_refused(kind):
    with pytest.raises(ShapeError, match="not uint8"):
        normalization(kind, **KINDS[kind]).init(jax.random.key(0), jnp.ones((2, 4), jnp.uint8), train=False)
