"""Endpoints of every backbone: what the config says of them is what the network makes."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cnnjax import Conv, ConvNet, Dense, Flatten, Pool, SmallCNN, models
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models.convnet import Activation, Dropout, Layer, Normalize, stage_ends
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.heads import Head, with_head
from tests.networks import NETWORKS, TABLE

# Presets that differ in size alone have one small form.
SMALL = {network.small_config: network for network in reversed(TABLE)}


def shapes(config, image, **options):
    """Shapes of what the network returns and of its parameters, by path."""
    module = config.build()
    x = jax.ShapeDtypeStruct((2, *image), jnp.float32)
    made, variables = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, **options), x)
    params: Any = traverse_util.flatten_dict(variables["params"], sep=".")
    return jax.tree.map(jnp.shape, made), {path: leaf.shape for path, leaf in params.items()}


@pytest.mark.parametrize("network", SMALL.values(), ids=lambda network: network.name)
def test_endpoints_are_the_maps_that_the_network_makes(network):
    """A further row of a map for every further `stride` rows of the image, whatever is padded or dropped."""
    config, (height, width, channels) = network.small_config, network.shape
    endpoints = config.endpoints()
    step = math.lcm(*(stride for endpoint in endpoints for stride in endpoint.strides))
    maps, params = shapes(config, network.shape, endpoints=True)
    larger, _ = shapes(config, (height + step, width + 2 * step, channels), endpoints=True)
    assert list(maps) == [endpoint.name for endpoint in endpoints]
    assert list(maps) == sorted(maps, key=lambda name: int(name.removeprefix("stage")))
    for name, (rows, columns), features in ((end.name, end.strides, end.features) for end in endpoints):
        _, h, w, _ = maps[name]
        assert maps[name] == (2, h, w, features)
        assert larger[name] == (2, h + step // rows, w + 2 * step // columns, features)
        assert h <= math.ceil(height / rows) + 1
    logits, whole = shapes(config, network.shape)
    size = config.output_size(height, width) if config.makes == "maps" else ()
    assert logits == (2, *size, 81 if network.name == "alphago_policy" else 10)
    left_out = whole.keys() - params.keys()
    assert {path: whole[path] for path in params} == params
    assert any("logits" in path for path in left_out) or network.name == "alphago_policy"
    assert left_out


# Strides and features at the published size, from the papers' tables.
PUBLISHED = {
    "vgg16": "64@2 128@4 256@8 512@16 512@32",
    "alexnet": "64@8 192@16 256@32",
    "zfnet": "96@4 256@16 256@32",
    # C5 is a convolution.
    "lenet5": "6@2 16@4 120@4",
    "airbench94": "64@2 256@4 256@8 256@24",
    "airbench96": "128@2 384@4 512@8 512@24",
    "alphago_policy": "192@1",
    "small_cnn": "16@2 32@4",
    "resnet18": "64@4 128@8 256@16 512@32",
    "resnet50": "256@4 512@8 1024@16 2048@32",
    "resnet20": "16@1 32@2 64@4",
    "mobilenet_v1": "64@2 128@4 256@8 512@16 1024@32",
    "mnasnet1_0": "16@2 24@4 40@8 80@16 96@16 192@32 320@32",
    "efficientnet_v2_s": "24@2 48@4 64@8 128@16 160@16 256@32",
    "regnet_y_16gf": "224@4 448@8 1232@16 3024@32",
    "inception_resnet_v2": "320@8 1088@16 1536@32",
    "inception_v4": "384@8 1024@16 1536@32",
    "xception": "128@4 256@8 728@16 2048@32",
    "unet_2015": "64@1 128@2 256@4 512@8 1024@16",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_endpoints_of_published_networks(name):
    endpoints = models.config(name).endpoints()
    assert all(endpoint.strides[0] == endpoint.strides[1] for endpoint in endpoints)
    assert " ".join(f"{endpoint.features}@{endpoint.strides[0]}" for endpoint in endpoints) == PUBLISHED[name]


# --- plain networks

CONV, TAIL = Conv(features=4), {"flatten": Flatten(), "logits": Dense()}
PLAIN = {
    "a stage for each block, strides in place of pooling": (
        SmallCNN(blocks=3, pool="stride").layers,
        "activation1 activation2 activation3",
        "2 4 8",
    ),
    "without any reduction": (SmallCNN(blocks=3, pool="none").layers, "activation3", "1"),
    "what follows a pooling at its place is with it": (
        {"conv1": CONV, "pool": Pool(), "norm": Normalize(), "act": Activation(), "conv2": CONV, **TAIL},
        "act conv2",
        "2 2",
    ),
    "the last map before a convolution that reduces": (
        {"conv1": CONV, "act": Activation(), "conv2": Conv(features=4, strides=2), "drop": Dropout(), **TAIL},
        "act drop",
        "1 2",
    ),
    "a pooling of the image itself is no stage": ({"pool": Pool(), "conv1": CONV, **TAIL}, "conv1", "2"),
    "a pooling in steps of 1 ends none": ({"conv1": CONV, "pool": Pool(window=3, strides=1), **TAIL}, "pool", "1"),
    "a convolution to logits is the classifier": ({"conv1": CONV, "logits": CONV}, "conv1", "1"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_where_stages_of_plain_networks_end(case):
    layers, names, strides = PLAIN[case]
    ends = stage_ends(layers)
    assert list(ends) == names.split()
    assert [end.strides for end in ends.values()] == [(int(n), int(n)) for n in strides.split()]


def test_strides_of_rows_and_columns_are_apart():
    net = ConvNet(layers={"conv": Conv(features=3, strides=(2, 1)), "pool": Pool(window=(1, 2)), **TAIL}, num_classes=2)
    assert net.endpoints() == (Endpoint("stage1", (2, 2), 3),)
    assert replace(net, {"layers.pool": None}).endpoints() == (Endpoint("stage1", (2, 1), 3),)


class Doubled(Layer, tag="doubled_for_endpoints"):
    def __call__(self, x, *, name, train, outputs):
        return 2 * x


def test_a_layer_of_ones_own_says_what_it_makes_of_maps():
    layers = {"conv": CONV, "own": Doubled(), **TAIL}
    with pytest.raises(ConfigError, match=r"Doubled does not say what it makes of maps.*define maps\(self, before\)"):
        ConvNet(layers=layers).endpoints()
    assert shapes(ConvNet(layers=layers, num_classes=2), (4, 4, 1))[0] == (2, 2)


def test_no_convolution_no_maps():
    with pytest.raises(ConfigError, match="no convolution before the classifier"):
        ConvNet(layers=TAIL).endpoints()


# --- residual networks with an output stride

DILATED = {
    "basic": {},
    "bottleneck": {"block": "bottleneck"},
    "v1": {"block": "bottleneck", "version": "v1"},
    "v2": {"version": "v2"},
    "dilated already": {"dilation": (1, 2, 1)},
    "padded shortcuts": {"shortcut": "A"},
}


@pytest.mark.parametrize("case", DILATED)
def test_an_output_stride_computes_the_same_maps_at_every_place(case):
    """At the places that the network with strides computes, the maps are the same numbers."""
    fields = {"stage_sizes": (1, 2, 2), "features": (3, 4, 4), "stem": "cifar", "num_classes": 2, **DILATED[case]}
    strided = models.config("resnet", **fields)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 2)).astype(np.float32)
    variables = jax.jit(strided.build().init)(jax.random.key(1), x)
    coarse: Any = jax.jit(partial(strided.build().apply, endpoints=True))(variables, x)
    # Of a network with three strides, both of the lesser ones; of the others the least, which dilates all.
    for stride in (1, 2) if case == "basic" else (1,):
        dense = replace(strided, {"output_stride": stride})
        maps: Any = jax.jit(partial(dense.build().apply, endpoints=True))(variables, x)
        for end, other in zip(dense.endpoints(), strided.endpoints(), strict=True):
            assert end.strides[0] == min(stride, other.strides[0])
            every = other.strides[0] // end.strides[0]
            np.testing.assert_allclose(maps[end.name][:, ::every, ::every], coarse[end.name], rtol=1e-4, atol=1e-5)


def test_an_output_stride_that_the_network_does_not_have_is_refused():
    assert models.config("resnet50", output_stride=32).endpoints() == models.config("resnet50").endpoints()
    with pytest.raises(ConfigError, match="output_stride: 7 is not among .*: 4, 8, 16, 32"):
        models.config("resnet50", output_stride=7)
    with pytest.raises(ConfigError, match="output_stride: 64 is not among"):
        models.config("resnet50", output_stride=64)
    with pytest.raises(ConfigError, match="not among .*: 8x4, "):
        models.config("resnet50", output_stride=8, **{"stem.strides": (4, 2)})


# --- heads


class Scores(linen.Module):
    endpoints: tuple[Endpoint, ...]
    outputs: int

    @linen.compact
    def __call__(self, maps, *, size, train):
        x = linen.Conv(self.outputs, (1, 1), name="logits")(maps[self.endpoints[-1].name])
        return jax.image.resize(x, (x.shape[0], *size, self.outputs), "bilinear")


class ScoresHead(Head, tag="scores_for_endpoints"):
    def network(self, endpoints, outputs):
        return Scores(endpoints, outputs)


class OwnNetwork(linen.Module):
    width: int

    @linen.compact
    def __call__(self, images, endpoints=False, deterministic=True):
        x = linen.Conv(self.width, (3, 3), strides=2)(images)
        x = linen.Dropout(0.5, deterministic=deterministic)(x)
        return {"stage1": x} if endpoints else linen.Dense(2)(x.mean((1, 2)))


class OwnModel(models.Model, tag="own_for_endpoints"):
    width: int = 4
    said: int = 4

    def endpoints(self):
        return (Endpoint("stage1", strides=(2, 2), features=self.said),)

    def network(self):
        return OwnNetwork(self.width)


class BareModel(models.Model, tag="bare_for_endpoints"):
    def network(self):
        return linen.Dense(2)


class SaysOnly(BareModel, tag="says_only_for_endpoints"):
    def endpoints(self):
        return (Endpoint("stage1", strides=(2, 2), features=4),)


@pytest.mark.parametrize("model", [OwnModel(), SmallCNN(features=2), NETWORKS["resnet20"].small_config])
def test_a_head_stands_on_a_backbone(model):
    module, x = with_head(model, ScoresHead(), 3), jnp.zeros((2, 8, 12, 1))
    made, variables = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x), x)
    assert made.shape == (2, 8, 12, 3)
    assert variables["params"].keys() == {"backbone", "head"}
    assert "logits" not in variables["params"]["backbone"]
    assert variables["params"]["head"]["logits"]["kernel"].shape[-1] == 3


def test_what_a_backbone_lacks_is_said():
    with pytest.raises(ConfigError, match=r"BareModel has no endpoints for a head: define endpoints\(self\)"):
        with_head(BareModel(), ScoresHead(), 3)
    with pytest.raises(ConfigError, match=r"Dense.__call__ .* takes no endpoints: .* returns the maps stage1"):
        with_head(SaysOnly(), ScoresHead(), 3)
    module = with_head(OwnModel(said=5), ScoresHead(), 3)
    with pytest.raises(ShapeError, match=r"stage1 is float32\[2,4,4,4\], where the config says \[2,h,w,5\]"):
        module.init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)))
