"""Learning rates stated per a batch size, and learning rates that fall with the depth of a layer."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import (
    FCN,
    SGD,
    AdamW,
    BatchNorm,
    Constant,
    Conv,
    ConvNet,
    Dense,
    Experiment,
    Flatten,
    GlobalPool,
    Hardware,
    Normalize,
    Options,
    SmallCNN,
    Study,
    Synthetic,
    WithHead,
    describe,
    models,
    train,
)
from cnnjax import plan as make_plan
from cnnjax.analysis.layer_table import document
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.models.depth import depths
from cnnjax.optim import Optim
from cnnjax.study.plan_table import plan_table
from tests.networks import TABLE

ONE = Hardware(devices=1)
BASE = Experiment(
    model=SmallCNN(features=2, norm=BatchNorm(), dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.1, per=256),
    batch_size=16,
    steps=3,
)

# --- per a batch size


@pytest.mark.parametrize(
    ("per", "scaling", "batch_size", "peak", "rule"),
    [
        (256, "linear", 1024, 0.4, "0.1 per 256 x 1024 = 0.4"),
        (256, "linear", 32, 0.0125, "0.1 per 256 x 32 = 0.0125"),
        (256, "square_root", 1024, 0.2, "0.1 per 256 x 1024 by the square root = 0.2"),
        (1, "linear", 8, 0.8, "0.1 per 1 x 8 = 0.8"),
        (None, "linear", 1024, 0.1, None),
    ],
)
def test_the_peak_follows_from_the_batch_size(per, scaling, batch_size, peak, rule):
    optim = SGD(learning_rate=0.1, per=per, scaling=scaling, momentum=0.0, nesterov=False, schedule=Constant())
    scaled = optim.for_batch(batch_size)
    assert scaled.learning_rate == pytest.approx(peak)
    assert optim.rule(batch_size) == rule
    assert scaled.for_batch(7) == scaled
    tx, params = scaled.build(steps=1, steps_per_epoch=1), {"w": jnp.zeros(1)}
    updates, _ = tx.update({"w": jnp.ones(1)}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [-peak], rtol=1e-6)


def test_a_training_has_the_rate_that_is_stated_and_records_it(tmp_path):
    train(replace(BASE, {"optim.per": 32, "optim.schedule": Constant()}), tmp_path, options=Options(ONE))
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05] * len(rows))
    resolved = json.loads((tmp_path / "resolved.json").read_text())
    assert (resolved["learning_rate"], resolved["learning_rate_rule"]) == (0.05, "0.1 per 32 x 16 = 0.05")


def test_a_plan_and_a_description_say_the_peak_and_its_rule():
    study = Study(BASE, axes={"batch_size": [8, 16], "optim.learning_rate": [0.1, 0.2]}, seeds=1)
    planned = make_plan(study, hardware=ONE)
    assert len(planned.programs) == 2, "the rate is a lane, the batch size is not"
    entries = planned.to_json()["trials"]
    assert [entry["learning_rate"] for entry in entries] == pytest.approx([0.1 / 32, 0.2 / 32, 0.1 / 16, 0.2 / 16])
    assert entries[2]["learning_rate_rule"] == "0.1 per 256 x 16 = 0.00625"
    (column,) = [column for column in plan_table(planned).renderables[0].columns if column.header == "learning rate"]
    assert [str(cell) for cell in column.cells] == [entry["learning_rate_rule"] for entry in entries]
    assert describe(BASE).to_json()["learning_rate"] == "0.1 per 256 x 16 = 0.00625"
    assert "learning rate: 0.1 per 256 x 16 = 0.00625" in str(document(describe(BASE)))
    deep = describe(replace(BASE, {"optim.layer_decay": 0.5})).learning_rate
    assert deep == "0.1 per 256 x 16 = 0.00625; x 0.5 for each block from the logits, 0.25 in conv1, norm1"
    plain = replace(BASE, {"optim.per": None})
    assert "learning_rate" not in describe(plain).to_json()
    planned = make_plan(Study(plain, seeds=1), hardware=ONE)
    assert "learning_rate" not in planned.to_json()["trials"][0]
    assert "learning rate" not in [column.header for column in plan_table(planned).renderables[0].columns]


# --- by depth


def by_module(found):
    """The depth of each module of the network's own; of one whose parameters differ, a set."""
    modules = {}
    for path, depth in found.items():
        modules.setdefault(path.partition(".")[0], set()).add(depth)
    return {module: depths.pop() if len(depths) == 1 else depths for module, depths in modules.items()}


def depths_in(name, by, classes=10):
    (network,) = [network for network in TABLE if network.name == name]
    config = network.small_config.model_copy(update={"num_classes": classes})
    return by_module(depths(config.build(), network.shape, config.endpoints(), by))


WORKED = {
    ("resnet18", "block"): {
        "logits": 0,
        "stage4_block1": 1,
        "stage3_block1": 2,
        "stage2_block2": 3,
        "stage2_block1": 4,
        "stage1_block1": 5,
        "stem": 6,
    },
    ("resnet18", "stage"): {
        "logits": 0,
        "stage4_block1": 1,
        "stage3_block1": 2,
        "stage2_block2": 3,
        "stage2_block1": 3,
        "stage1_block1": 4,
        "stem": 5,
    },
    # The normalization behind the last block is its own; torchvision's maps are normalized.
    ("resnet50_v2", "block"): {
        "logits": 0,
        "norm": 1,
        "stage4_block1": 1,
        "stage3_block1": 2,
        "stage2_block2": 3,
        "stage2_block1": 4,
        "stage1_block1": 5,
        "stem": 6,
    },
    ("googlenet_auxiliary", "block"): {
        "logits": 0,
        "inception4a_auxiliary": 0,
        "inception4a": 1,
        "inception3a": 2,
        "stem": 3,
    },
    ("mobilenet_v2", "stage"): {
        "logits": 0,
        "head": 0,
        "stage4_block1": 1,
        "stage3_block1": 2,
        "stage2_block2": 3,
        "stage2_block1": 3,
        "stage1_block1": 4,
        "stem": 5,
    },
}


@pytest.mark.parametrize(("name", "by"), WORKED)
def test_depths_are_those_worked_by_hand(name, by):
    assert depths_in(name, by) == WORKED[name, by]


def test_a_normalization_is_of_the_block_before_it_and_a_downsampling_of_the_one_after():
    layers = {"a": Conv(features=2), "norm1": Normalize(norm=BatchNorm()), "b": Conv(features=3)}
    config = ConvNet(layers={**layers, "pool": GlobalPool(), "flat": Flatten(), "logits": Dense()}, num_classes=4)
    found = depths(config.build(), (8, 8, 1), config.endpoints(), "block")
    assert by_module(found) == {"a": 2, "norm1": 2, "b": 1, "logits": 0}
    convnext = depths_in("convnext_tiny", "block")
    assert convnext["downsample2"] == convnext["stage2_block1"] == convnext["stage1_block1"] - 1
    assert convnext["norm"] == convnext["logits"] == 0


def test_a_networks_head_is_at_depth_0_and_its_backbone_below():
    (network,) = [network for network in TABLE if network.name == "resnet18"]
    backbone = network.small_config.model_copy(update={"num_classes": 3})
    config = WithHead(backbone=backbone, head=FCN(stride=backbone.endpoints()[-1].strides[0]), num_classes=3)
    found = depths(config.build(), network.shape, (), "block")
    alone = depths(backbone.build(), network.shape, backbone.endpoints(), "block")
    assert {depth for path, depth in found.items() if path.startswith("head.")} == {0}
    assert {path: depth for path, depth in found.items() if path.startswith("backbone.")} == {
        f"backbone.{path}": depth for path, depth in alone.items() if depth
    }


def test_rates_fall_by_the_decay_for_each_block():
    optim = AdamW(learning_rate=0.1, layer_decay=0.5, schedule=Constant(), groups={"b.*": {"learning_rate": 3.0}})
    plain = AdamW(learning_rate=0.1, schedule=Constant())
    params = {name: {"kernel": jnp.full((2, 2), 2.0)} for name in "abc"}
    found = {}
    for name, depth in (("decayed", {"depths": {"a.kernel": 2, "b.kernel": 1, "c.kernel": 0}}), ("plain", {})):
        tx = (optim if depth else plain).build(steps=3, steps_per_epoch=3, **depth)
        updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
        found[name] = {module: float(held["kernel"][0, 0]) for module, held in updates.items()}
    shares = {module: found["decayed"][module] / found["plain"][module] for module in "abc"}
    assert shares == pytest.approx({"a": 0.25, "b": 1.5, "c": 1.0}, rel=1e-5)


def test_a_training_moves_each_block_by_its_share():
    """One step of plain gradient descent from the same weights: a parameter at depth d moves 0.5^d as far."""
    from cnnjax.run.program import Program

    plain = replace(
        BASE, {"optim": SGD(learning_rate=0.1, momentum=0.0, nesterov=False, schedule=Constant()), "steps": 1}
    )
    moved = []
    for experiment in (plain, replace(plain, {"optim.layer_decay": 0.5})):
        program = Program(experiment, hardware=ONE)
        state = program.init([experiment])
        before = jax.device_get(state.params)
        state, _ = program.train(state, program.rows([experiment], 0))
        moved.append(jax.tree.map(lambda a, b: a - b, jax.device_get(state.params), before))
    config = replace(BASE.model, {"num_classes": 4})
    depth = depths(config.build(), (8, 8, 1), config.endpoints(), "block")
    assert set(depth.values()) == {0, 1, 2}
    for path, leaf in jax.tree_util.tree_leaves_with_path(moved[0]):
        dotted = jax.tree_util.keystr(path, simple=True, separator=".")
        other = dict(jax.tree_util.tree_leaves_with_path(moved[1]))[path]
        # The weights are near 1, where float32 has steps of 6e-8.
        np.testing.assert_allclose(other, leaf * 0.5 ** depth[dotted], rtol=2e-5, atol=1e-7, err_msg=dotted)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny"])
def test_blocks_are_grouped_as_timm_groups_them(name):
    from tests.torch_peers import timm, torch

    with torch.device("meta"):
        model = timm.create_model(name)
    groups = pytest.importorskip("timm.optim").param_groups_layer_decay(model, layer_decay=0.5)
    names = {id(parameter): path for path, parameter in model.named_parameters()}
    theirs = {
        names[id(parameter)].rpartition(".")[0]: -np.log2(group["lr_scale"])
        for group in groups
        for parameter in group["params"]
    }
    config = models.config(name).model_copy(update={"num_classes": 1000})
    found = depths(config.build(), (64, 64, 3), config.endpoints(), "block")
    ours = {config.timm_name(path.rpartition(".")[0]): depth for path, depth in found.items()}
    # Parameters of a module's own (layer scale) are under the module in both.
    assert {path: theirs[path] for path in ours} == ours
    assert ours.keys() == theirs.keys()


# --- what is refused


class Whole(Optim, tag="whole_of_rates"):
    learning_rate: float = 0.1

    def build(self, *, steps, steps_per_epoch):
        return optax.sgd(self.learning_rate)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(scaling="square_root"), "scaling = 'square_root': set per, the batch size that learning_rate is"),
        (lambda: SGD(per=0), "greater than or equal to 1"),
        (lambda: SGD(layer_decay=1.5), "less than or equal to 1"),
        (lambda: Whole(layer_decay=0.5), "Whole has a build of its own, which knows no layers"),
        (lambda: SGD(layer_decay=0.5).build(steps=1, steps_per_epoch=1), "must be told how deep each parameter is"),
    ],
)
def test_bad_rates_are_refused(make, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        make()


def test_a_network_of_one_block_has_no_layers_to_decay():
    flat = ConvNet(layers={"flat": Flatten(), "logits": Dense()})  # which has no endpoints either
    with pytest.raises(ConfigError, match="the network has one block with parameters"):
        check(replace(BASE, {"model": flat, "optim.layer_decay": 0.5}))


def test_a_network_without_endpoints_has_no_stages():
    config = TABLE[0].small_config.model_copy(update={"num_classes": 3})
    with pytest.raises(ConfigError, match="the model has no endpoints, so no stages; take 'block'"):
        depths(config.build(), TABLE[0].shape, (), "stage")


def test_an_optimizer_of_ones_own_is_scaled_too():
    assert Whole(learning_rate=0.1, per=8).for_batch(16).learning_rate == pytest.approx(0.2)
