"""Heads on backbones: sizes counted by hand, how they begin, what training alone runs, what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import (
    FCN,
    BatchNorm,
    Endpoint,
    Experiment,
    ResNet,
    SmallCNN,
    TorchFCN,
    WithHead,
    analyse,
    calling,
    describe,
    models,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError, RunError
from cnnjax.models import with_head
from cnnjax.models.heads.fcn import fitted
from cnnjax.run.weights import Initial
from tests.marks import slow
from tests.networks import MAPS

# Of those that differ in how many maps they add up or how deep they are, one or two.
SMALL = [
    *("fcn8s_vgg16", "fcn_resnet50", "deeplabv3_resnet50"),
    *slow("fcn32s_vgg16"),
]


@pytest.mark.parametrize("name", MAPS)
def test_parameters_and_operations_are_as_published(name):
    network = MAPS[name]
    shape: Any = network.config.input_shape
    analysis = analyse(models.build(name), shape)
    assert network.config.published_classes == network.classes
    assert analysis.params == network.params
    if not name.endswith("resnet101"):  # whose code is that of the shallower
        assert network.params == sum(layer.params for layer in describe(network.config).layers)
    assert analysis.layers[-1].output_shape == (*shape[:2], 21)
    assert network.gmacs is None or analysis.macs / 1e9 == pytest.approx(network.gmacs, rel=1e-3)


def test_fcn_on_vgg_has_the_parameters_of_the_paper():
    """Table 1 of Long et al. 2015 has 134M for FCN-VGG16: the convolutions, and dense layers that became such."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    dense = (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096
    scores, step = (4096 + 1) * 21, 4 * 4 * 21 * 21
    fcn32s = convolutions + dense + scores
    assert fcn32s == MAPS["fcn32s_vgg16"].params == 134_346_581
    assert fcn32s + (512 + 1) * 21 + step == MAPS["fcn16s_vgg16"].params
    assert fcn32s + (512 + 1) * 21 + (256 + 1) * 21 + 2 * step == MAPS["fcn8s_vgg16"].params
    learned = models.config("fcn32s_vgg16", **{"head.final": "transposed"})
    assert analyse(models.build("vgg16"), (224, 224, 3)).params == convolutions + dense + (4096 + 1) * 1000
    assert describe(learned).params == fcn32s + 64 * 64 * 21 * 21


@pytest.mark.parametrize("name", SMALL)
def test_a_small_one_makes_finite_maps_of_any_size_and_all_of_it_is_trained(name):
    config: Any = replace(MAPS[name].small_config, {"num_classes": 3})
    if isinstance(config.head, FCN):
        config = replace(config, {"head.zero_scores": False})
    module = config.build()
    x = np.random.default_rng(0).normal(size=(2, 40, 33, 3)).astype(np.float32)
    variables: Any = jax.jit(module.init)(jax.random.key(0), x)
    weights = jnp.arange(33.0).reshape(1, 1, 33, 1)

    def loss(params) -> Any:
        streams = {"dropout": jax.random.key(1)}
        mutable = ["batch_stats", "auxiliary"]
        made = module.apply({**variables, "params": params}, x, train=True, mutable=mutable, rngs=streams)
        maps, left = made[0], jax.tree.leaves(made[1].get("auxiliary", {}))
        assert maps.shape == (2, 40, 33, 3)
        return sum((jnp.sin(y) * weights).sum() for y in [maps, *left] if jnp.ndim(y) == 4)

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


def test_published_scores_begin_at_zero():
    module = WithHead(backbone=SmallCNN(features=2), head=FCN(stride=2, features=3), num_classes=4).build()
    x = jnp.ones((1, 8, 8, 1))
    variables = module.init(jax.random.key(0), x)
    assert not np.asarray(module.apply(variables, x)).any()


def test_steps_that_are_learned_begin_as_interpolation():
    """Inside; at the borders interpolation repeats the outermost, and a transposed convolution fades out."""
    endpoints = (Endpoint("stage1", (1, 1), 2), Endpoint("stage2", (3, 3), 2), Endpoint("stage3", (6, 6), 2))
    maps = {
        e.name: jax.random.normal(jax.random.key(0), (1, 24 // e.strides[0], 24 // e.strides[0], 2)) for e in endpoints
    }
    made = []
    for by in ("transposed", "resize"):
        head = FCN(stride=3, features=2, dropout=0, upsampling=by, final=by, zero_scores=False)
        module = head.network(endpoints, 5)
        # Drawn by name, so the scores are the same in both.
        variables = module.init(jax.random.key(1), maps, size=(24, 24), train=False)
        made.append(module.apply(variables, maps, size=(24, 24), train=False))
    assert np.abs(made[0] - made[1])[:, 6:-6, 6:-6].max() < 1e-5
    assert np.abs(made[0] - made[1]).max() > 1e-3


@pytest.mark.parametrize("size", [(5, 2), (3, 3), (4, 6)])
def test_maps_are_cut_or_lengthened_at_the_far_ends(size):
    x = np.arange(24.0).reshape(2, 4, 3, 1)
    rows, columns = (np.minimum(np.arange(wanted), held - 1) for wanted, held in zip(size, (4, 3), strict=True))
    np.testing.assert_array_equal(fitted(jnp.asarray(x), size), x[:, rows][:, :, columns])


def test_the_auxiliary_head_is_run_in_training_alone():
    config = replace(MAPS["fcn_resnet50"].small_config, {"head.auxiliary_weight": 0.25})
    module, x = config.build(), jnp.ones((2, 16, 16, 3))
    variables: Any = jax.eval_shape(lambda x: calling.init(module, jax.random.key(0), x), x)
    assert variables["params"]["head"]["auxiliary"].keys() == {"conv", "logits"}

    def called(variables, x, train):
        streams = (lambda name: jax.random.key(1)) if train else None
        return calling.apply(module, variables, x, train=train, streams=streams, left=["auxiliary"])

    maps, left = jax.eval_shape(lambda v, x: called(v, x, True), variables, x)
    logits, _ = left["auxiliary"]["head"]["stage3_logits"]
    assert logits.shape == maps.shape == (2, 16, 16, 10)
    _, left = jax.eval_shape(lambda v, x: called(v, x, False), variables, x)
    assert not left.get("auxiliary")
    beside = [layer for layer in describe(config, (16, 16, 3)).layers if "auxiliary" in layer.path]
    assert {layer.macs for layer in beside} == {0}
    assert any(layer.train_activations for layer in beside)


def test_a_head_goes_on_the_strides_that_a_backbone_has():
    """Whatever the architecture: the deepest maps of each stride."""
    used = {name: FCN(stride=8).used(models.config(name).endpoints()) for name in ("vgg16", "resnet50", "mobilenet_v2")}
    assert [e.name for e in used["vgg16"]] == ["stage5", "stage4", "stage3"]
    assert [e.name for e in used["resnet50"]] == ["stage4", "stage3", "stage2"]
    # Stages 4 and 5 have stride 16, 6 and 7 stride 32.
    assert [e.name for e in used["mobilenet_v2"]] == ["stage7", "stage5", "stage3"]
    dilated = models.config("resnet50", output_stride=8).endpoints()
    assert [e.name for e in FCN(stride=8).used(dilated)] == ["stage4"]


REFUSED = {
    "a stride that there is not": (SmallCNN(), FCN(), r"head.stride: .* no maps of stride 8; it has: stage1 \(16"),
    "a stride above the last": (SmallCNN(), FCN(stride=8), "no maps of stride 8"),
    "rows and columns apart": (SmallCNN(strides=(2, 1)), FCN(stride=4), "no maps of stride 4; .*stride 4x2"),
    "an endpoint that there is not": (
        ResNet(),
        TorchFCN(auxiliary="stage9"),
        "'stage9' is no endpoint for head.auxiliary.*: stage1, stage2, stage3, stage4",
    ),
    "maps under a head": (models.config("fcn_resnet50"), FCN(), "with_head makes maps .* give it no head"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    model, head, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        with_head(model, head, 3)


def test_every_part_is_an_axis():
    model = replace(Experiment(model=SmallCNN()), {"model": "fcn8s_vgg16"}).model
    changed: Any = replace(model, {"backbone.layers.conv1_1.features": 8, "head.stride": 16, "head.norm": "batch"})
    assert changed.head == FCN(stride=16, norm=BatchNorm())
    assert models.config("with_head", backbone="resnet18", head="torch_fcn") == WithHead(
        backbone=ResNet(), head=TorchFCN()
    )


# --- from a classifier


def drawn(module, shape, seed):
    """Variables of random numbers, by collection."""
    made = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), jnp.zeros((1, *shape)))
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(np.float32), dict(made))


def test_a_classifier_of_the_size_it_was_trained_at_is_the_fcn_of_it():
    """Its dense layers as convolutions say at the middle of the map what they said of the image."""
    net: Any = MAPS["fcn32s_vgg16"].small_config
    vgg = replace(net.backbone, {"num_classes": 6, "layers.dense6.features": 8, "layers.dense7.features": 8})
    head = FCN(stride=32, features=8, kernel_size=3, dropout=0, zero_scores=False)
    shape = (96, 96, 3)  # whose last maps are 3x3
    theirs, module = drawn(vgg.build(), shape, 0), with_head(vgg, head, 6)
    merged: Any = Initial("run", theirs, 0).merged(drawn(module, shape, 1))
    assert merged["params"].keys() == {"backbone", "head"}
    assert "dense6" not in merged["params"]["backbone"]
    # The scores, too, which are of other classes and start afresh.
    logits = theirs["params"]["logits"]
    merged["params"]["head"]["logits"] = {"kernel": logits["kernel"][None, None], "bias": logits["bias"]}
    x = np.random.default_rng(2).normal(size=(2, *shape)).astype(np.float32)
    maps = vgg.build().apply({"params": merged["params"]["backbone"]}, x, endpoints=True)
    expected = vgg.build().apply(theirs, x)
    scores = FCN.network(head, vgg.endpoints(), 6).apply(
        {"params": merged["params"]["head"]}, maps, size=(3, 3), train=False
    )
    np.testing.assert_allclose(np.asarray(scores)[:, 1, 1], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_backbone_of_a_classifier_begins_a_network_under_a_head():
    net: Any = MAPS["fcn_resnet50"].small_config
    shape = (32, 32, 3)
    backbone = net.backbone.model_copy(update={"num_classes": 7})
    theirs, own = drawn(backbone.build(), shape, 0), drawn(net.build(), shape, 1)
    merged = Initial("run", theirs, 0).merged(own)
    for collection in ("params", "batch_stats"):
        taken = {name: leaves for name, leaves in theirs[collection].items() if name != "logits"}
        jax.tree.map(np.testing.assert_array_equal, merged[collection]["backbone"], taken)
        jax.tree.map(np.testing.assert_array_equal, merged[collection]["head"], own[collection]["head"])
    other = drawn(replace(backbone, {"features": (4, 4, 8, 16)}).build(), shape, 0)
    with pytest.raises(RunError, match=r"backbone.stage4_block1.conv1.conv.kernel: 1x1x\d+x16 there, 1x1x\d+x8 here"):
        Initial("run", other, 0).merged(own)
