"""Groups of parameters: what each of a pattern's multipliers does, and which patterns are refused."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax import (
    LAMB,
    LARS,
    SAM,
    SGD,
    Adafactor,
    Adam,
    AdamW,
    BatchNorm,
    Constant,
    Experiment,
    Hardware,
    Linear,
    Lion,
    Muon,
    Options,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    SmallCNN,
    Study,
    Synthetic,
    describe,
    load,
    train,
)
from cnnjax import plan as make_plan
from cnnjax.analysis.layer_table import document
from cnnjax.config import replace, replace_texts
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.optim import Group, Optim, check_groups, group_sizes
from cnnjax.run.program import Program
from cnnjax.study.study import with_overrides

ONE = Hardware(devices=1)
GROUPS = {"stem.*.bias": {}, "stem.*": {"learning_rate": 0.1, "weight_decay": 0.0}, "*.kernel": {"weight_decay": 3.0}}
PARAMS = {
    "stem": {"conv": {"kernel": np.array([[1.0, -2.0]], np.float32), "bias": np.array([0.5], np.float32)}},
    "body": {"kernel": np.array([[3.0], [0.25]], np.float32)},
    "logits": {"kernel": np.array([[-1.0, 2.0]], np.float32), "bias": np.array([0.1, 0.2], np.float32)},
}
PATHS = ["stem.conv.kernel", "stem.conv.bias", "body.kernel", "logits.kernel", "logits.bias"]
BASE = Experiment(
    model=SmallCNN(features=2, norm=BatchNorm(), dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.05, weight_decay=0.01, clip_norm=0.5),
    batch_size=16,
    steps=3,
)


def at(tree, path):
    for step in path.split("."):
        tree = tree[step]
    return tree


def gradients(seed):
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), PARAMS)


def trained(optim, steps=4):
    optimizer = optim.build(steps=steps, steps_per_epoch=steps)
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = optimizer.init(params)
    for step in range(steps):
        updates, state = jax.jit(optimizer.update)(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.torch
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_groups_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    rate, decay = 0.1, 0.3
    common = {"learning_rate": rate, "weight_decay": decay, "schedule": Constant(), "decay_skips": "nothing"}
    optim = {"sgd": SGD, "adamw": AdamW}[name](**common, groups=GROUPS)
    multipliers = {  # of the learning rate and of the weight decay, worked by hand
        "stem.conv.kernel": (0.1, 0.0),
        "stem.conv.bias": (1.0, 1.0),
        "body.kernel": (1.0, 3.0),
        "logits.kernel": (1.0, 3.0),
        "logits.bias": (1.0, 1.0),
    }
    theirs = {path: torch.nn.Parameter(torch.tensor(at(PARAMS, path))) for path in PATHS}
    listed = [
        {"params": [theirs[path]], "lr": rate * of_rate, "weight_decay": decay * of_decay}
        for path, (of_rate, of_decay) in multipliers.items()
    ]
    reference = torch.optim.AdamW(listed) if name == "adamw" else torch.optim.SGD(listed, 0.1, 0.9, nesterov=True)
    for step in range(4):
        for path, parameter in theirs.items():
            parameter.grad = torch.tensor(at(gradients(step), path))
        reference.step()
    params, _ = trained(optim)
    for path in PATHS:
        # Of Adam's 1 - 0.999^t float32 keeps four digits at first.
        assert_allclose(at(params, path), theirs[path].detach().numpy(), rtol=1e-5, atol=4e-6, err_msg=path)


FREEZABLE = [
    SGD(clip_norm=1.0, weight_decay=0.1),
    AdamW(clip_norm=1.0),
    Adam(weight_decay=0.1),
    RMSProp(adaptive_clip=0.1, form="tensorflow", momentum=0.9),
    LARS(weight_decay=0.1),
    LAMB(clip_norm=1.0),
    Lion(),
    Muon(weight_decay=0.1),
    Adafactor(min_dim_size_to_factor=2),
    ScheduleFreeSGD(weight_decay=0.1, clip_norm=1.0),
    ScheduleFreeAdamW(),
]


@pytest.mark.parametrize("optim", FREEZABLE, ids=[optim.tag for optim in FREEZABLE])
def test_frozen_parameters_are_as_if_they_were_not_there(optim):
    frozen = replace(optim, {"groups": {"stem.*": {"frozen": True}}})
    params, state = trained(frozen)
    assert_array_equal(params["stem"]["conv"]["kernel"], PARAMS["stem"]["conv"]["kernel"])
    optimizer = optim.build(steps=4, steps_per_epoch=4)
    rest = {name: jax.tree.map(jnp.asarray, PARAMS[name]) for name in ("body", "logits")}
    alone = optimizer.init(rest)
    for step in range(4):
        own = {name: gradients(step)[name] for name in rest}
        updates, alone = jax.jit(optimizer.update)(own, alone, rest)
        rest = optax.apply_updates(rest, updates)
    # The clipping norm and the moments too.
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-6), {name: params[name] for name in rest}, rest)
    assert sorted(leaf.size for leaf in jax.tree.leaves(state)) == sorted(leaf.size for leaf in jax.tree.leaves(alone))


def test_a_negative_zero_that_is_frozen_keeps_its_sign():
    optimizer = SGD(groups={"w": {"frozen": True}}).build(steps=1, steps_per_epoch=1)
    params = {"w": jnp.asarray([-0.0, 0.0, 2.0]), "v": jnp.ones(1)}
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert np.signbit(optax.apply_updates(params, updates)["w"]).tolist() == [True, False, False]


def test_neutral_groups_change_nothing():
    plain, neutral = trained(SGD(weight_decay=0.1))[0], trained(SGD(weight_decay=0.1, groups={"stem.*": {}}))[0]
    jax.tree.map(assert_array_equal, plain, neutral)


def test_a_group_stops_and_has_a_schedule_of_its_own():
    """SGD worked by hand: the stem's rate falls to 0 over two epochs, the logits stop after one and a half."""
    groups = {"stem.*": {"until": 2.0, "schedule": Linear()}, "logits.*": {"until": 1.5, "learning_rate": 3.0}}
    optim = SGD(learning_rate=0.1, momentum=0.5, nesterov=False, groups=groups, schedule=Linear())
    optimizer = optim.build(steps=6, steps_per_epoch=2)
    params, state = jax.tree.map(jnp.asarray, PARAMS), optimizer.init(PARAMS)
    rates = {
        "stem.conv.kernel": [0.1 * (1 - step / 4) for step in range(4)] + [0, 0],
        "body.kernel": [0.1 * (1 - step / 6) for step in range(6)],
        "logits.bias": [0.3 * (1 - step / 6) for step in range(3)] + [0, 0, 0],
    }
    velocity = dict.fromkeys(rates, 0.0)
    expected = {path: at(PARAMS, path).astype(np.float64) for path in rates}
    for step in range(6):
        updates, state = optimizer.update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        for path, own in rates.items():
            velocity[path] = 0.5 * velocity[path] + at(gradients(step), path)
            expected[path] = expected[path] - own[step] * velocity[path]
            assert_allclose(at(params, path), expected[path], rtol=2e-6, err_msg=f"{path} {step}")


@pytest.mark.parametrize(("until", "counted"), [(0.2, 0), (3.0, 6), (9.0, 18)])
def test_a_group_that_stops_never_or_at_once_is_refused(until, counted):
    words = f"until = {until:g} epochs of 2 steps are {counted} steps, and the training has 6: it must lie within"
    with pytest.raises(ConfigError, match=re.escape(words)):
        SGD(groups={"stem.*": {"until": until}}).build(steps=6, steps_per_epoch=2)


def test_groups_in_time_are_refused_where_weights_are_averaged_over_them():
    with pytest.raises(ConfigError, match="makes the weights that it evaluates of one learning rate for all"):
        ScheduleFreeSGD(groups={"stem.*": {"until": 1.0}})


def test_a_group_stops_in_a_training(tmp_path):
    """Two steps an epoch: after one epoch the stem stays, bit for bit, whatever follows."""
    first = parameter_paths()[0].partition(".")[0]
    groups = {f"{first}.*": {"until": 1.0}, "*": {"schedule": Linear(final=0.5)}}
    experiment = replace(BASE, {"optim.groups": groups, "optim.schedule": Constant()})
    start = jax.device_get(Program(experiment, hardware=ONE).init([experiment])).params
    for steps in (3, 5):
        train(replace(experiment, {"steps": steps}), tmp_path / f"{steps}", options=Options(ONE))
    short, longer = load(tmp_path / "3").params, load(tmp_path / "5").params
    for name in start:
        same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (short[name], longer[name])), strict=True)]
        assert all(same) if name == first else not any(same), name
    moved = zip(*map(jax.tree.leaves, (start[first], short[first])), strict=True)
    assert not any(np.array_equal(a, b) for a, b in moved)


def test_decay_skips_norm_and_bias_in_groups_too():
    groups = {"*": {"weight_decay": 5.0}}
    one, other = (trained(SGD(weight_decay=decay, groups=groups))[0] for decay in (0.0, 0.1))
    assert_array_equal(one["logits"]["bias"], other["logits"]["bias"])
    assert not np.array_equal(one["logits"]["kernel"], other["logits"]["kernel"])


# --- in a training


def parameter_paths():
    leaves = jax.tree_util.tree_leaves_with_path(check(BASE, devices=1).state.params)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


@pytest.mark.parametrize("methods", [(), (SAM(),)], ids=["plain", "sam"])
def test_a_frozen_part_is_bit_for_bit_what_it_was(methods, tmp_path):
    first = parameter_paths()[0].partition(".")[0]
    experiment = replace(BASE, {"optim.groups": {f"{first}.*": {"frozen": True}}, "methods": methods})
    start = jax.device_get(Program(experiment, hardware=ONE).init([experiment])).params
    train(experiment, tmp_path, options=Options(ONE))
    end = load(tmp_path).params
    for name in start:
        same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (start[name], end[name])), strict=True)]
        assert all(same) if name == first else not any(same), name


def test_groups_are_an_axis_and_are_given_on_the_command_line():
    written = {"*.bias": {"learning_rate": 2.0}, "*": {"weight_decay": 0}}
    groups = {"*.bias": Group(learning_rate=2.0), "*": Group(weight_decay=0)}
    study = Study(BASE, axes={"optim.groups": [{}, written]}, seeds=1)
    assert [dict(study.varied(arm).optim.groups) for arm in study.arms] == [{}, groups]
    assert len({trial.program for trial in make_plan(study, hardware=ONE).trials}) == 2
    assert dict(replace_texts(BASE, {"optim.groups": json.dumps(written)}).optim.groups) == groups
    study = with_overrides(Study(BASE), {"optim.groups": '{},{"*.bias":{"frozen":true}}'})
    assert [dict(study.varied(arm).optim.groups) for arm in study.arms] == [{}, {"*.bias": Group(frozen=True)}]
    assert Experiment.from_json(study.varied(study.arms[1]).to_json()) == study.varied(study.arms[1])


def test_sizes_count_each_parameter_once():
    groups = {name: Group() for name in ("stem.*", "*.kernel")}
    assert group_sizes(groups, PARAMS) == {"stem.*": 3, "*.kernel": 4}


def test_a_description_says_how_many_parameters_each_group_has():
    paths = parameter_paths()
    sizes = {path: leaf.size for path, leaf in zip(paths, jax.tree.leaves(check(BASE).state.params), strict=True)}
    first = paths[0].partition(".")[0]
    groups = {f"{first}.*": {"frozen": True}, "*.kernel": {"learning_rate": 0.5}}
    grouped = describe(replace(BASE, {"optim.groups": groups}))
    frozen = sum(size for path, size in sizes.items() if path.startswith(f"{first}."))
    kernels = sum(size for path, size in sizes.items() if path.endswith("kernel") and not path.startswith(f"{first}."))
    assert grouped.to_json()["groups"] == [
        {"pattern": f"{first}.*", "params": frozen, "frozen": True},
        {"pattern": "*.kernel", "params": kernels, "frozen": False},
    ]
    assert f"optim.groups '{first}.*': {frozen:,} parameters, frozen" in str(document(grouped))
    plain = describe(BASE)
    assert grouped.memory.optimizer == plain.memory.optimizer - 4 * frozen, "no momentum of float32 for these"
    assert "groups" not in plain.to_json()
    with pytest.raises(ConfigError, match="matches no parameter"):
        describe(replace(BASE, {"optim.groups": {"nowhere": {}}}))


# --- what is refused


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"steam.*": {}}, "optim.groups: 'steam.*' matches no parameter. Did you mean 'stem.*'"),
        ({"xyz": {}}, "matches no parameter. Paths begin with: body, logits, stem"),
        ({"*": {}, "stem.*": {}}, "optim.groups: 'stem.*' has no effect: '*' before it match all"),
        ({"stem.*": {}, "*.bias": {}, "*": {}, "*.kernel": {}}, "'*.kernel' has no effect: 'stem.*' and '*' before"),
        ({"*.bias": {"frozen": True}, "*": {"frozen": True}}, "all parameters are frozen, so that nothing would be"),
    ],
)
def test_patterns_without_effect_are_refused(groups, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        check_groups(SGD(groups=groups).groups, PARAMS)


def test_a_pattern_that_matches_nothing_is_refused_at_check():
    with pytest.raises(ConfigError, match=re.escape("optim.groups: 'logit.kernel' matches no parameter. Did you mean")):
        check(replace(BASE, {"optim.groups": {"logit.kernel": {"frozen": True}}}))


class Whole(Optim, tag="whole_of_groups"):
    learning_rate: float = 0.1

    def build(self, *, steps, steps_per_epoch):
        return optax.sgd(self.learning_rate)


class Undecayed(Optim, tag="undecayed"):
    learning_rate: float = 0.1

    def direction(self):
        return optax.identity()


def test_an_optimizer_of_ones_own_honours_groups_or_refuses_them():
    with pytest.raises(ConfigError, match="Whole has a build of its own, which knows no groups"):
        Whole(groups={"*": {"frozen": True}})
    with pytest.raises(ConfigError, match=re.escape("changes weight_decay, which Undecayed does not add")):
        Undecayed(groups={"*": {"weight_decay": 0.5}})
    params, _ = trained(Undecayed(schedule=Constant(), groups={"stem.*": {"learning_rate": 0.5}}), steps=1)
    moved = jax.tree.map(lambda a, b: (a - b) / 0.1, PARAMS, params)
    assert_allclose(moved["stem"]["conv"]["kernel"], 0.5 * gradients(0)["stem"]["conv"]["kernel"], rtol=1e-4)
    assert_allclose(moved["body"]["kernel"], gradients(0)["body"]["kernel"], rtol=1e-4)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"learning_rate": 0.0}, "must be greater than 0"),
        ({"weight_decay": -1.0}, "must be greater than or equal to 0"),
        ({"frozen": True, "learning_rate": 0.1}, "that do not move have no learning_rate"),
        ({"momentum": 0.5}, "'momentum' is no field of Group"),
        ({"frozen": True, "until": 1.0}, "that never move have no until"),
    ],
)
def test_bad_groups_are_refused(group, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        SGD(groups={"*": group})
