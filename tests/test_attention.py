"""Attention in blocks, and weights standardized before they are used, against NumPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cnnjax import ECA, GroupNorm, ImageNetStem, ResNet, SqueezeExcitation, analyse, models, nn
from cnnjax.errors import ConfigError
from cnnjax.models.resnet_blocks import StemNetwork
from cnnjax.nn.efficient_channel_attention import adaptive_size

MAPS = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
# Sums of at most 98 products of numbers of size one.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run(module, **keywords):
    """What the module makes of MAPS, and its parameters, away from their initial values, by name."""
    variables = module.init(jax.random.key(0), MAPS, **keywords)
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    params = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
    return np.asarray(module.apply(variables, MAPS, **keywords)), params


def test_eca_is_a_convolution_along_the_channels():
    y, params = run(nn.EfficientChannelAttention(5))
    means = MAPS.mean((1, 2))
    kernel = params["kernel"].ravel()
    gates = np.stack([sigmoid(np.correlate(np.pad(row, 2), kernel)) for row in means])
    np.testing.assert_allclose(y, MAPS * gates[:, None, None, :], **CLOSE)
    assert params["kernel"].shape == (5, 1, 1)


def test_eca_reads_more_neighbours_where_there_are_more_channels():
    """Figure 1 of its authors' code: (log2(C) + 1) / 2, cut, and one more where that is even."""
    sizes = {channels: adaptive_size(channels) for channels in (1, 16, 64, 128, 256, 512, 1024, 2048)}
    assert sizes == {1: 3, 16: 3, 64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}


def test_cbam_attends_to_channels_and_then_to_places():
    y, params = run(nn.ConvolutionalBlockAttention(2, kernel_size=3, norm=None), train=False)
    reduce, expand = params["channel.reduce.kernel"][0, 0], params["channel.expand.kernel"][0, 0]
    squeezed = (MAPS.mean((1, 2)), MAPS.max((1, 2)))
    x = MAPS * sigmoid(sum(np.maximum(values @ reduce, 0) @ expand for values in squeezed))[:, None, None, :]
    maps = np.pad(np.stack([x.mean(-1), x.max(-1)], -1), [(0, 0), (1, 1), (1, 1), (0, 0)])
    kernel = params["spatial.conv.kernel"][..., 0]
    scores = sum(maps[:, i : i + 3, j : j + 4] @ kernel[i, j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(y, x * sigmoid(scores)[..., None], **CLOSE)


def test_squeeze_and_excitation_is_the_same_network_by_either_field():
    old, new = (
        ResNet(stage_sizes=(1,), features=16, num_classes=3, **fields).build()
        for fields in ({"squeeze_excite": 0.25}, {"attention": SqueezeExcitation(reduction=0.25)})
    )
    x = np.ones((1, 8, 8, 3), np.float32)
    assert str(jax.make_jaxpr(old.init)(jax.random.key(0), x)) == str(jax.make_jaxpr(new.init)(jax.random.key(0), x))


def test_cbam_normalizes_its_map_where_the_network_normalizes_over_the_batch():
    for norm, held in (("batch", {"scale", "bias"}), (GroupNorm(groups=2), set())):
        net = models.config("resnet18", features=(4, 4), stage_sizes=(1, 1), attention="cbam", norm=norm, num_classes=3)
        params = jax.eval_shape(net.build().init, jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))["params"]
        spatial = params["stage1_block1"]["cbam"]["spatial"]
        assert spatial.get("norm", {}).keys() == held
        assert ("bias" in spatial["conv"]) == (not held)


@pytest.mark.parametrize("gain", [False, True])
def test_weights_are_standardized_for_each_feature(gain):
    y, params = run(nn.Convolution(4, 3, groups=2, bias=False, standardize=1e-3, gain=gain))
    kernel = params["kernel"]
    mean, var = kernel.mean((0, 1, 2)), kernel.var((0, 1, 2))
    used = (kernel - mean) / np.sqrt(var + 1e-3) * (1 / np.sqrt(3 * 3 * 3) if gain else 1)
    plain = nn.Convolution(4, 3, groups=2, bias=False)
    np.testing.assert_allclose(y, plain.apply({"params": {"kernel": used}}, MAPS), **CLOSE)
    assert params.keys() == {"kernel", "gain"} if gain else {"kernel"}


def test_zeros_take_part_in_a_pooling_only_where_they_shall():
    """An image below zero through weights of one: every number of the map is, and a zero at its border is larger."""
    x = -np.ones((1, 8, 8, 3), np.float32)
    for zeros in (False, True):
        stem = StemNetwork(ResNet(features=2, version="v2", stem=ImageNetStem(pool_zeros=zeros)))
        variables = jax.tree.map(np.ones_like, stem.init(jax.random.key(0), x, train=False))
        maps = np.asarray(stem.apply(variables, x, train=False))
        assert maps.shape == (1, 2, 2, 2)
        assert (maps[0, 0] == 0).all() == (maps[0, :, 0] == 0).all() == zeros
        assert (maps[0, 1, 1] < 0).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ResNet(squeeze_excite=0.25, attention="eca"), "eca stands in the place of squeeze_excite"),
        (lambda: ECA(kernel_size=4), "4 is even"),
        (lambda: models.config("resnet20", **{"stem.pool_zeros": True}), "pool_zeros: there is no pooling"),
        (lambda: analyse(nn.Convolution(2, 3, gain=True), (4, 4, 1)), "gain = True: it is of standardized weights"),
        (lambda: analyse(nn.Convolution(2, 3, standardize=0.0), (4, 4, 1)), "standardize = 0.0: .* above 0"),
        (lambda: analyse(nn.EfficientChannelAttention(2), (4, 4, 4)), "kernel_size = 2: must be odd"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_widths_that_are_matched_in_cost_fit_the_groups_of_a_normalization():
    for config in models.config("bit_r50x1", stage_sizes=(1, 1)).rescaled(0.4):
        assert all(width % 32 == 0 for width in config.widths)
