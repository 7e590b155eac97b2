"""Every training method and every optimizer however a training runs: one row each; a member without a row fails.

jit, shard_map and pmap over devices, packed with another trial, in bfloat16, and continued from a checkpoint. That each
computes what its source says is checked elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import cycle
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import (
    EMA,
    LAMB,
    LARS,
    SAM,
    SGD,
    SWA,
    Adafactor,
    Adam,
    AdamW,
    BatchNorm,
    Constant,
    Distillation,
    Experiment,
    Hardware,
    Lion,
    Lookahead,
    Method,
    Muon,
    Options,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    SmallCNN,
    Synthetic,
    train,
)
from cnnjax.config import replace
from cnnjax.optim import Optim
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.program import Program
from cnnjax.training.evaluated import of_others
from tests.marks import slow

BASE = Experiment(
    model=SmallCNN(features=2, blocks=1, norm=BatchNorm(), dense=0),
    data=Synthetic(height=4, width=4, channels=1, classes=3, examples=16, test_examples=4),
    optim=SGD(learning_rate=0.05, schedule=Constant()),
    batch_size=8,
    steps=4,
    validation=0,
    seed=1,
)


class Row(NamedTuple):
    """changes: of BASE. also: made of a folder, where they need a run. rtol: of what two devices or a pack compute,
    where the method makes a small difference of a gradient a large one.
    """

    changes: Mapping[str, Any]
    also: Callable[[Any], Mapping[str, Any]] = lambda folder: {}
    rtol: float = 2e-4


def taught(folder):
    train(BASE, folder, options=Options(Hardware(devices=1)))
    return {"methods": (Distillation(teacher=str(folder)),)}


def optimizer(optim: Optim, **expected: Any) -> Row:
    return Row({"optim": optim}, **expected)


def method(*methods: Method, **expected: Any) -> Row:
    return Row({"methods": methods}, **expected)


ROWS = {
    "sgd": optimizer(SGD(learning_rate=0.05, weight_decay=0.01, clip_norm=1.0)),
    "adam": optimizer(Adam(eps=1e-3)),
    "adamw": optimizer(AdamW(eps=1e-3)),
    "rmsprop": optimizer(RMSProp(eps=1e-3)),
    "lars": optimizer(LARS()),
    "lamb": optimizer(LAMB(eps=1e-3)),
    "lion": optimizer(Lion()),
    "muon": optimizer(Muon(rest=())),
    "adafactor": optimizer(Adafactor()),
    "schedule-free sgd": optimizer(ScheduleFreeSGD(adaptive_clip=0.1)),
    "schedule-free adamw": optimizer(ScheduleFreeAdamW(eps=1e-3)),
    "rates by batch and depth, a part at inference": Row(
        {
            "optim": SGD(per=16, layer_decay=0.5, groups={"norm1.*": {"frozen": True, "inference": True}}),
            "methods": (EMA(decay=0.5, batch_statistics="anew"),),
        }
    ),
    "ema": method(EMA(decay=0.5)),
    "ema, statistics anew, with sam": method(SAM(rho=0.1, every=2), EMA(decay=0.5, batch_statistics="anew")),
    "swa": method(SWA(start=0.25, every=0.5)),
    "lookahead": method(Lookahead(every=2)),
    "distillation": Row({}, taught),
}
NAMES = list(ROWS)


def test_every_member_has_a_row():
    changed = [row.changes | ({"methods": (Distillation,)} if row.also is taught else {}) for row in ROWS.values()]
    tried = {type(held["optim"]) for held in changed if "optim" in held}
    tried |= {one if isinstance(one, type) else type(one) for held in changed for one in held.get("methods", ())}
    for union in (Optim, Method):
        # Other tests register classes of their own.
        ours = {member for member in union.members.values() if member.__module__.startswith("cnnjax.")}
        assert not ours - tried


class Alone(NamedTuple):
    """A row's training on one device. history: its states, on the host: at first, and after each step."""

    experiment: Experiment
    program: Program
    history: list[Any]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    made: dict[str, Alone] = {}

    def training(name: str) -> Alone:
        if name not in made:
            row = ROWS[name]
            experiment = replace(replace(BASE, row.changes), row.also(tmp_path_factory.mktemp("run")))
            program = Program(experiment, hardware=Hardware(devices=1))
            history = [jax.device_get(program.init([experiment]))]
            for step in range(2):
                history.append(stepped(program, experiment, history[-1], step))
            made[name] = Alone(experiment, program, history)
        return made[name]

    return training


def stepped(program, experiment, state, step):
    """The state (host arrays) after the step number `step`, with estimates."""
    state, _ = program.train(program.place([state]), program.rows([experiment], step))
    return jax.device_get(program.estimated(state, [experiment]) if step == 1 else state)


def evaluated(program, state):
    """The variables of all weights that are evaluated, by name, on the host."""
    names = of_others(program.experiment.methods, program.experiment.optim)
    return {name: jax.device_get(program.with_weights_of(state, name).variables) for name in names}


def spread(name, trainings, **hardware):
    """A row's states and evaluated variables after two steps: packed behind another trial, over devices; and alone."""
    experiment, alone, history = trainings(name)
    others = replace(experiment, {"seed": 7})
    experiments, first = [others, experiment], jax.device_get(alone.init([others]))
    program = Program(experiment, packed=2, hardware=Hardware(**hardware))
    state = program.place([first, history[0]])
    for step in range(2):
        state, _ = program.train(state, program.rows(experiments, step))
    state = program.estimated(state, experiments)
    packed = jax.device_get(state), evaluated(program, state)
    return jax.tree.map(lambda leaf: leaf[1], packed), (history[2], evaluated(alone, alone.place([history[2]])))


OPTIMIZERS = [name for name in NAMES if ROWS[name].changes.keys() == {"optim"}]
OVER_DEVICES = [
    # One that updates with gradients that are whole is alike in all three.
    *zip(OPTIMIZERS, cycle(["jit", "pmap", "shard_map"]), strict=False),
    *((name, "shard_map") for name in NAMES if name not in OPTIMIZERS),
    ("ema, statistics anew, with sam", "pmap"),
    ("rates by batch and depth, a part at inference", "jit"),
]


@pytest.mark.parametrize(("name", "parallel"), OVER_DEVICES)
def test_packed_over_devices_as_alone(name, parallel, trainings):
    found, expected = spread(name, trainings, devices=2, parallel=parallel)
    # Sums over devices and packs are taken in another order.
    jax.tree.map(partial(assert_allclose, rtol=ROWS[name].rtol, atol=2e-6), found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_continued_bitwise(name, trainings, tmp_path):
    experiment, program, (_, middle, last) = trainings(name)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(1, middle, CheckpointNotes(id=experiment.id, codes=(None,)))
        checkpoints.wait()
        restored, _ = checkpoints.restore(program.blank().replace(lane=middle.lane))
    continued = stepped(program, experiment, restored, 1)
    assert jax.tree.structure(continued) == jax.tree.structure(last)
    jax.tree.map(np.testing.assert_array_equal, continued, last)


@pytest.fixture(scope="module")
def in_half(trainings):
    """A row's program in bfloat16."""
    one = Hardware(devices=1)
    return cache(lambda name: Program(replace(trainings(name).experiment, {"precision": "bfloat16"}), hardware=one))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_has_the_same_types_in_bfloat16(name, trainings, in_half):
    shapes = partial(jax.tree.map, lambda leaf: (leaf.shape, leaf.dtype))
    assert shapes(in_half(name).checked.state) == shapes(trainings(name).history[0])


@pytest.mark.parametrize("name", [NAMES[0], *slow(*NAMES[1:])])
def test_a_step_in_bfloat16_is_near_that_in_float32(name, trainings, in_half):
    experiment, _, (first, after, _) = trainings(name)
    half = in_half(name)
    state, sums = half.train(half.place([first]), half.rows([experiment], 0))
    assert jnp.isfinite(sums["loss"])
    moved = [jax.tree.map(np.subtract, jax.device_get(one.params), first.params) for one in (state, after)]
    flat = [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in moved]
    # bfloat16 keeps 8 bits: signs of small gradients may turn, the direction as a whole does not.
    assert np.dot(*flat) / np.prod([np.linalg.norm(x) for x in flat]) > 0.9
