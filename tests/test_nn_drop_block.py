"""DropBlock: blocks by hand, the share that is kept, and masks that do not depend on the number of devices."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax import ConvNet, ResNet, describe
from cnnjax import DropBlock as DropBlockLayer
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.nn import DropBlock
from cnnjax.nn.drop_block import _outside_of_blocks

KEY = jax.random.key(3)


def drop(module, x, *, key=KEY, train=True):
    return module.apply({}, x, train=train, rngs={"dropout": key})


def blocks(corners, block):
    """Which places of a map [h, w] are in no block, place by place."""
    rows, columns = block
    kept = np.ones((corners.shape[0] + rows - 1, corners.shape[1] + columns - 1), bool)
    for i, j in np.argwhere(corners):
        kept[i : i + rows, j : j + columns] = False
    return kept


def test_blocks_by_hand():
    """On 4x5, 2x3 blocks from (0, 2) and (1, 0)."""
    corners = np.zeros((3, 3), bool)
    corners[0, 2] = corners[1, 0] = True
    expected = ["..XXX", "XXXXX", "XXX..", "....."]
    kept = _outside_of_blocks(jnp.asarray(corners[None, :, :, None]), (2, 3))[0, :, :, 0]
    assert ["".join(".X"[not place] for place in row) for row in np.asarray(kept).tolist()] == expected
    assert_array_equal(kept, blocks(corners, (2, 3)))


@pytest.mark.parametrize("shared", [False, True])
def test_a_map_is_that_of_its_mask(shared):
    """The corners are drawn as the layer draws them: gamma = 0.3 / 6 x 35 / (4 x 5); the rest is NumPy."""
    x = jax.random.normal(KEY, (3, 5, 7, 4))
    y = np.asarray(drop(DropBlock(0.3, (2, 3), shared=shared), x))
    gamma, channels = 0.3 / 6 * 35 / (4 * 5), 1 if shared else 4
    kept = y != 0
    assert (kept == kept[..., :1]).all() == shared
    share = kept.mean()
    assert_allclose(y, np.where(kept, x / share, 0), rtol=1e-5)
    # Every dropped place is in a whole block of dropped places.
    for example in range(3):
        for channel in range(channels):
            mask = kept[example, :, :, channel]
            whole = np.array([[not mask[i : i + 2, j : j + 3].any() for j in range(5)] for i in range(4)])
            assert_array_equal(blocks(whole, (2, 3)), mask)
    assert 0 < gamma < 1 - share < 0.3 + 0.2


def kept_share(height, width, block, rate):
    """The expected share, from how many blocks each place can be in."""
    rows, columns = (min(size, side) for size, side in zip(block, (height, width), strict=True))
    corners = np.ones((height - rows + 1, width - columns + 1), bool)
    gamma = rate * height * width / (rows * columns * corners.size)
    reach = sum(
        (~blocks(np.arange(corners.size).reshape(corners.shape) == place, (rows, columns))).astype(int)
        for place in range(corners.size)
    )
    return ((1 - gamma) ** reach).mean()


@pytest.mark.parametrize(
    ("size", "block", "rate"), [((8, 9), (3, 3), 0.2), ((4, 4), (7, 7), 0.3), ((5, 3), (4, 4), 0.2)]
)
def test_the_share_that_is_kept(size, block, rate):
    """Blocks larger than the map are cut to it: then a map is dropped whole, with probability rate."""
    y = np.asarray(drop(DropBlock(rate, block), jnp.ones((64, *size, 64))))
    share = (y != 0).mean()
    # 4,096 maps, whose shares deviate by at most 1/2.
    assert abs(share - kept_share(*size, block, rate)) < 4 * 0.5 / 64
    assert_allclose(y.mean(), 1, rtol=1e-5)
    if size == (4, 4):
        assert set((y != 0).mean((1, 2)).ravel()) == {0, 1}


def test_rate_may_be_traced_and_nought_costs_nothing():
    x = jnp.ones((2, 4, 4, 3))
    traced = jax.jit(lambda rate: drop(DropBlock(rate, 2), x))
    assert_array_equal(traced(0.25), drop(DropBlock(0.25, 2), x))
    assert_array_equal(traced(0.0), x)
    assert drop(DropBlock(0.0), x) is x
    assert drop(DropBlock(0.5), x, train=False) is x


def test_a_batch_that_is_dropped_whole_is_zero():
    x = jnp.ones((1, 2, 2, 1))
    drops = [np.asarray(drop(DropBlock(0.9, 2), x, key=key)) for key in jax.random.split(KEY, 8)]
    assert any(not y.any() for y in drops)
    assert np.isfinite(drops).all()


@pytest.mark.parametrize("devices", [2, 8])
def test_masks_do_not_depend_on_the_devices(devices):
    x = jnp.ones((16, 5, 4, 2))
    step = lambda value, key: drop(DropBlock(0.3, 2), value, key=key)  # noqa: E731
    alone = jax.jit(step)(x, KEY)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    batch = PartitionSpec("data")
    manual = jax.shard_map(step, mesh=mesh, in_specs=(batch, PartitionSpec()), out_specs=batch)
    # Means of shares in another order.
    assert_allclose(jax.jit(manual)(x, KEY), alone, rtol=1e-6)
    parts = jax.pmap(step, in_axes=(0, None), devices=jax.devices()[:devices])
    assert_allclose(parts(x.reshape(devices, -1, *x.shape[1:]), KEY).reshape(x.shape), alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "shape", "error", "words"),
    [
        (DropBlock(1.0), (2, 4, 4, 1), ConfigError, "must be at least 0 and below 1"),
        (DropBlock(0.1, 0), (2, 4, 4, 1), ConfigError, "block_size = 0"),
        (DropBlock(0.1), (2, 4), ShapeError, "expects a batch of images"),
    ],
)
def test_what_cannot_be_is_refused(module, shape, error, words):
    with pytest.raises(error, match=words):
        drop(module, jnp.ones(shape))


# --- as fields


@pytest.mark.parametrize("version", ["v1.5", "v2"])
def test_a_residual_network_drops_in_its_last_two_stages(version):
    config = ResNet(
        stage_sizes=(1, 1, 1),
        features=2,
        version=version,
        stem="cifar",
        num_classes=2,
        drop_block=0.2,
        drop_block_size=3,
    )
    assert [config.drop_block_of(stage) for stage in range(3)] == [0, 0.05, 0.2]
    rows = [row for row in describe(config, (8, 8, 3)).layers if row.op == "drop_block"]
    sites = [f"stage{stage}_block1.drop_block_{after}" for stage in (2, 3) for after in ("1", "2", "shortcut")]
    assert sorted(row.path for row in rows) == sites
    plain = replace(config, {"drop_block": 0.0})
    assert not [row for row in describe(plain, (8, 8, 3)).layers if row.op == "drop_block"]


def test_a_residual_network_drops_in_training_alone():
    config = ResNet(stage_sizes=(1,), features=2, stem="cifar", num_classes=2, drop_block=0.3, drop_block_size=2)
    plain, x = replace(config, {"drop_block": 0.0}), jax.random.normal(KEY, (4, 4, 4, 3))
    variables = jax.jit(plain.build().init)(KEY, x)

    @partial(jax.jit, static_argnums=(0, 1))
    def applied(config, train):
        streams = {"dropout": KEY}
        return config.build().apply(variables, x, train=train, mutable=["batch_stats"], rngs=streams)[0]

    assert_allclose(applied(config, False), applied(plain, False), rtol=1e-6)
    assert not np.allclose(applied(config, True), applied(plain, True))


def test_a_layer_of_a_plain_network_drops_as_the_block_does():
    config = ConvNet(layers={"drop": DropBlockLayer(rate=0.3, block_size=2), "pool": "global_pool"}, num_classes=2)
    x = jax.random.normal(KEY, (4, 6, 6, 2))
    y = config.build().apply({}, x, train=True, rngs={"dropout": KEY})
    assert y.shape == (4, 2)
    assert not np.allclose(y, x.mean((1, 2)))
    assert_array_equal(config.build().apply({}, x), x.mean((1, 2)))
