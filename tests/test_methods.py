"""Training methods: their arithmetic by hand, their names in results, and that they train alike however it is done."""

from __future__ import annotations

import json
import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import (
    EMA,
    SAM,
    SGD,
    BatchNorm,
    Constant,
    Experiment,
    Flip,
    Hardware,
    Method,
    Options,
    SmallCNN,
    Study,
    Synthetic,
    describe,
    lane,
    load,
    plan,
    train,
)
from cnnjax.config import replace, replace_texts
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import check
from cnnjax.records.metrics_jsonl import read_rows
from cnnjax.records.result_json import EvaluationRecord
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.study.study import with_overrides
from cnnjax.training.state import TrainState
from tests.marks import slow
from tests.programs import program_of
from tests.teachers import taught
from tests.test_run import Crash, crash_at
from tests.test_transformations import METHODS

ONE = Hardware(devices=1)
BASE = Experiment(
    model=SmallCNN(features=4, norm=BatchNorm(), dropout=0.2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=20),
    optim=SGD(learning_rate=0.05, momentum=0.0, nesterov=False, schedule=Constant()),
    augment=(Flip(),),
    batch_size=16,
    steps=4,
)
BOTH = replace(BASE, {"methods": (SAM(), EMA(decay=0.5, every=2)), "optim": SGD(learning_rate=0.05)})


def states(experiment, steps=4):
    """The state before each step and after the last, on the host."""
    program = Program(experiment, hardware=ONE)
    found = [program.init([experiment])]
    history = [jax.device_get(found[0])]
    for step in range(steps):
        found.append(program.train(found[-1], program.rows([experiment], step))[0])
        history.append(jax.device_get(found[-1]))
    return history


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
        np.testing.assert_array_equal(x, y)


# --- the average


@pytest.mark.parametrize(
    ("method", "decays"),
    [
        (EMA(decay=0.7), [0.7, 0.7, 0.7, 0.7]),
        (EMA(decay=0.25, warmup=True), [1 / 10, 2 / 11, 3 / 12, 0.25]),
        (EMA(decay=0.8, warmup=True, every=2), [1, 1 / 10, 1, 2 / 11]),
        (EMA(share=0.75), [1 - 1 / (0.75 * 4)] * 4),
        (EMA(decay=0.75, from_epoch=0.5), [0, 0, 0.75, 0.75]),
        (EMA(decay=0.75, from_epoch=0.0, counted="epoch", every=3), [0, 1, 0.75, 1]),
    ],
    ids=["plain", "warm-up", "every second step", "a share", "from an epoch on", "counted by epochs"],
)
def test_the_average_is_that_of_its_formula(method, decays):
    history = states(replace(BASE, {"methods": (method,)}))
    mean = jax.tree.map(lambda x: np.asarray(x, np.float64), history[0].variables)
    equal(history[0].methods["ema"], {name: held for name, held in history[0].variables.items() if held})
    for decay, state in zip(decays, history[1:], strict=True):
        mean = jax.tree.map(lambda m, p, d=decay: d * m + (1 - d) * p, mean, state.variables)
        # float32 of a few operations a step.
        jax.tree.map(lambda m, e: assert_allclose(e, m, rtol=1e-5, atol=1e-7), mean, dict(state.methods["ema"]))


def test_the_average_leaves_the_training_as_it_is():
    plain, averaged = states(BASE), states(replace(BASE, {"methods": (EMA(decay=0.5),)}))
    # Another program, whose last bits may be rounded otherwise.
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5, atol=1e-7), plain[-1].variables, averaged[-1].variables)


def test_whole_numbers_are_the_newest():
    own = EMA(decay=0.5).init({"w": jnp.zeros(2)}, {"counters": {"steps": jnp.int32(0)}})
    after = TrainState(jnp.int32(1), {"w": jnp.ones(2)}, {}, (), {}, {"counters": {"steps": jnp.int32(7)}})
    own, _ = EMA(decay=0.5).after(own, after, after)
    assert own["counters"]["steps"] == 7
    assert own["params"]["w"].tolist() == [0.5, 0.5]


# --- sharpness


def test_sharpness_aware_steps_on_a_quadratic_by_hand():
    """L(w) = (w1^2 + 4 w2^2) / 2 at (3, 1): g = (3, 4), |g| = 5, e = rho (0.6, 0.8), and L' there is A (w + e)."""
    curvature, w = jnp.asarray([1.0, 4.0]), jnp.asarray([3.0, 1.0])

    def gradient(params):
        return jax.grad(lambda params: (curvature * params["w"] ** 2).sum() / 2)(params), {"seen": params["w"]}, {}

    def found(method):
        gradients, statistics, _ = method.around(gradient, {}, key=jax.random.key(0), step=jnp.int32(0))({"w": w})
        assert statistics["seen"] is w, "statistics are those of the first pass"
        return gradients["w"]

    assert_allclose(found(SAM(rho=0.5)), [1 * (3 + 0.5 * 0.6), 4 * (1 + 0.5 * 0.8)], rtol=1e-6)
    # T = |w| = (3, 1): T g = (9, 4), |T g| = sqrt(97), e = rho T (T g) / |T g|.
    stretched = np.asarray([3 * 9, 1 * 4]) / np.sqrt(97)
    assert_allclose(found(SAM(rho=0.5, adaptive=True)), np.asarray([1, 4]) * ([3, 1] + 0.5 * stretched), rtol=1e-6)


def test_sharpness_aware_steps_may_be_some_of_many():
    w = jnp.asarray([3.0, 1.0])

    def gradient(params):
        return {"w": params["w"] * jnp.asarray([1.0, 4.0])}, {}, {}

    @jax.jit
    def at(step):
        return SAM(rho=0.5, every=3).around(gradient, {}, key=jax.random.key(0), step=step)({"w": w})[0]["w"]

    plain, aware = [3.0, 4.0], [3.3, 5.6]
    assert_allclose([at(jnp.int32(step)) for step in range(6)], [plain, plain, aware] * 2, rtol=1e-6)


def test_without_a_gradient_there_is_no_way_up():
    gradient = SAM().around(lambda params: (params, {}, {}), {}, key=jax.random.key(0), step=jnp.int32(0))
    assert gradient({"w": jnp.zeros(2)})[0]["w"].tolist() == [0, 0]


@pytest.mark.parametrize("accumulate", [1, *slow(2)])
def test_a_sharpness_aware_step_is_two_plain_ones(accumulate):
    """The second from where the first gradient leads up: of the same batch, with the same flips and dropout."""
    rate, rho = BASE.optim.learning_rate, 0.3
    plain = replace(BASE, {"accumulate": accumulate})
    program, aware = Program(plain, hardware=ONE), Program(replace(plain, {"methods": (SAM(rho=rho),)}), hardware=ONE)
    start = jax.device_get(program.init([plain]))

    def stepped(program, experiment, params):
        state, sums = program.train(program.place([start.replace(params=params)]), program.rows([plain], 0))
        return jax.device_get((state, sums))

    def moved(state, params):
        return jax.tree.map(lambda a, b: (b - a) / rate, state.params, params)

    first, first_sums = stepped(program, plain, start.params)
    gradient = moved(first, start.params)
    norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
    above = jax.tree.map(lambda w, g: w + rho * g / norm, start.params, gradient)
    expected = moved(stepped(program, plain, above)[0], above)
    start = start.replace(lane={**start.lane, "methods.0.rho": np.float32(rho)})
    state, sums = stepped(aware, aware.experiment, start.params)
    # Differences of float32 parameters of size one, over a rate of 0.05.
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=2e-5), moved(state, start.params), expected)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5), state.batch_stats, first.batch_stats)
    assert_allclose(sums["loss"], first_sums["loss"], rtol=1e-5)


# --- however it is trained


WHOLE = replace(BASE, {"model.dropout": 0.0})
# As in test_training: sums over devices and packs are taken in another order.
close = partial(jax.tree.map, partial(assert_allclose, rtol=2e-4, atol=2e-6))


@cache
def after_two_steps(experiment, *, seeds=(0,), **hardware):
    """The state and the average's variables, on the host."""
    program = program_of(taught(experiment), packed=len(seeds), **hardware)
    experiments = [replace(experiment, {"seed": seed}) for seed in seeds]
    state = program.init(experiments)
    for step in range(2):
        state, _ = program.train(state, program.rows(experiments, step))
    has_average = any(isinstance(method, EMA) for method in experiment.methods)
    return jax.device_get((state, program.with_weights_of(state, "ema" if has_average else None).variables))


# Of two methods together; of each alone in test_methods_everywhere.
TOGETHER = replace(WHOLE, {"methods": BOTH.methods})


@pytest.mark.parametrize("parallel", ["shard_map", *slow("jit", "pmap")])
def test_devices_that_share_a_step_agree(parallel):
    alone = after_two_steps(TOGETHER, devices=1)
    close(after_two_steps(TOGETHER, devices=2, parallel=parallel), alone)


def test_a_packed_trial_is_the_trial_alone():
    experiment = TOGETHER
    packed = after_two_steps(experiment, seeds=(0, 1), devices=1)
    close(jax.tree.map(lambda leaf: leaf[1], packed), after_two_steps(experiment, seeds=(1,), devices=1))


@pytest.mark.parametrize("name", slow(*METHODS))
def test_accumulated_parts_are_the_whole_batch(name):
    # Without the statistics of a batch, which are those of its parts.
    experiment = replace(WHOLE, {"methods": (METHODS[name],), "model.norm": "none"})
    parts = after_two_steps(replace(experiment, {"accumulate": 2}), devices=1)
    close(parts, after_two_steps(experiment, devices=1))


def test_a_training_that_crashed_continues_bitwise(tmp_path):
    """What each method keeps is restored in test_methods_everywhere."""
    options = Options(ONE, checkpoint_steps=2)
    train(BOTH, tmp_path / "whole", options=options)
    with pytest.raises(Crash):
        train(BOTH, tmp_path / "crashed", options=options, sinks=[crash_at(3)])
    train(BOTH, tmp_path / "crashed", options=options)
    for file in ("metrics.jsonl", "evaluation.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "crashed" / file).read_bytes()
    whole, crashed = (load(tmp_path / folder) for folder in ("whole", "crashed"))
    assert whole.step == 4
    equal(whole.state, crashed.state)


# --- what is evaluated


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods") / "beside"
    return train(BOTH, folder, options=Options(ONE)) | {"folder": folder}


@pytest.fixture(scope="module")
def instead(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods") / "instead"
    return train(replace(BOTH, {"methods.1.evaluate": "instead"}), folder, options=Options(ONE)) | {"folder": folder}


def test_the_average_is_measured_beside_or_instead(beside, instead):
    ema = {name.replace("_ema_", "_"): value for name, value in beside["metrics"].items() if "_ema_" in name}
    raw = {name: beside["metrics"][name] for name in ema}
    assert {"validation_loss", "test_loss", "test_accuracy"} <= ema.keys()
    assert ema != raw
    assert {name: instead["metrics"][name] for name in ema} == ema
    assert not any("ema" in name for name in instead["metrics"])
    [*_, row] = read_rows(beside["folder"] / "metrics.jsonl")
    assert row.numbers["validation_ema_loss"] == ema["validation_loss"]
    assert row.numbers["validation_loss"] == raw["validation_loss"]


def test_evaluate_repeats_what_was_measured(beside, instead):
    for run, parts in (
        (beside, ["validation", "validation_ema", "test", "test_ema"]),
        (instead, ["validation", "test"]),
    ):
        record = json.loads((run["folder"] / EvaluationRecord.filename).read_text())
        measured = evaluate(run["folder"], hardware=ONE)
        assert list(measured) == parts
        assert {part: record[part] for part in parts} == measured


def test_a_network_is_loaded_with_the_weights_that_count(beside, instead):
    raw, ema = load(beside["folder"]), load(beside["folder"], weights="ema")
    equal(raw.variables, raw.state.variables)
    assert ema.described().endswith("step 4, ema weights")
    equal({name: held for name, held in ema.variables.items() if held}, raw.state.methods["ema"])
    equal(load(instead["folder"]).variables, ema.variables)
    equal(load(instead["folder"], weights="raw").variables, raw.variables)
    images = np.zeros((1, 8, 8, 1), np.uint8)
    shown = ema.predict(images).logits
    np.testing.assert_array_equal(load(instead["folder"]).predict(images).logits, shown)
    assert not np.array_equal(shown, raw.predict(images).logits)
    with pytest.raises(ConfigError, match="'emma' is no weights of this run"):
        load(beside["folder"], weights="emma")


def test_another_training_starts_from_the_weights_that_count(instead):
    experiment = replace(BASE, {"initial": str(instead["folder"]), "methods": (EMA(decay=0.5),)})
    state = jax.device_get(Program(experiment, hardware=ONE).init([experiment]))
    equal(state.params, load(instead["folder"]).params)
    equal(state.methods["ema"]["params"], state.params)


def test_a_run_without_an_average_has_none_to_evaluate(tmp_path):
    train(BASE, tmp_path, options=Options(ONE))
    with pytest.raises(RunError, match="was trained without ema"):
        evaluate(tmp_path, overrides={"methods": "ema", "methods.0.decay": "0.5"}, hardware=ONE)
    with pytest.raises(ConfigError, match=re.escape("'ema' is no weights of this run")):
        load(tmp_path, weights="ema")


def test_a_state_without_methods_is_saved_as_ever(tmp_path):
    experiment = replace(BASE, {"methods": (SAM(),)})
    train(experiment, tmp_path, options=Options(ONE))
    checkpoints = Checkpoints(tmp_path / "checkpoints", read_only=True)
    names = {path[0].name for path, _ in jax.tree_util.tree_leaves_with_path(load(tmp_path).state)}
    checkpoints.close()
    assert names == {"step", "params", "batch_stats", "opt_state", "lane"}


def test_the_memory_of_methods_is_estimated():
    plain, averaged, aware = (
        describe(replace(BASE, {"methods": methods})).memory for methods in ((), (EMA(),), (SAM(),))
    )
    assert averaged.state == 2 * plain.state + plain.params
    assert averaged.total - averaged.state == plain.total - plain.state
    # The parameters that the first gradient leads to are there beside the trained ones.
    assert aware.gradients > plain.gradients
    assert aware.total > plain.total


# --- how they are given


def test_methods_are_axes_and_lanes():
    study = Study(BASE, axes={"methods": [(), "ema", ("sam", "ema"), {"name": "sam", "rho": 0.2}]}, seeds=1)
    assert [study.varied(arm).methods for arm in study.arms] == [(), (EMA(),), (SAM(), EMA()), (SAM(rho=0.2),)]
    lanes = Study(replace(BASE, {"methods": (EMA(),)}), axes={"methods.0.decay": [0.5, 0.75]}, seeds=1)
    assert len({trial.program for trial in plan(lanes, hardware=ONE).trials}) == 1


def test_methods_on_the_command_line():
    assert replace_texts(BASE, {"methods": "ema"}).methods == (EMA(),)
    assert replace_texts(BASE, {"methods": "[sam,ema]", "methods.1.decay": "0.9"}).methods == (SAM(), EMA(decay=0.9))
    assert replace_texts(BOTH, {"methods": "none"}).methods == ()
    study = with_overrides(Study(BASE), {"methods": "ema,[sam,ema],none"})
    assert [study.varied(arm).methods for arm in study.arms] == [(EMA(),), (SAM(), EMA()), ()]
    study = with_overrides(Study(BASE), {"methods": "ema", "methods.0.decay": "0.99,0.999"})
    assert [study.varied(arm).methods for arm in study.arms] == [(EMA(decay=0.99),), (EMA(decay=0.999),)]
    with pytest.raises(ConfigError, match=re.escape("methods = 'ema,sam': several stand in brackets: [ema,sam]")):
        replace_texts(BASE, {"methods": "ema,sam"})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EMA(every=0), "every = 0: must be greater than or equal to 1"),
        (lambda: EMA(decay=1.0), "decay = 1.0: must be less than 1"),
        (lambda: EMA(decay=0.0), "decay = 0.0: must be greater than 0"),
        (lambda: EMA(decay=1 - 1e-9), "must be less than 1 in float32 too"),
        (
            lambda: EMA(share=0.1, decay=0.9),
            "the decay follows from it, so decay = 0.9 would have no effect",
        ),
        (lambda: EMA(warmup=True, counted="epoch"), "not with counted = 'epoch'"),
        (lambda: EMA(warmup=True, from_epoch=0.0), "not with from_epoch = 0.0"),
        (lambda: EMA(from_epoch=2.5).check(steps=10, steps_per_epoch=4), "from_epoch = 2.5: that is step 10, and"),
        (lambda: SAM(rho=0.0), "rho = 0.0: must be greater than 0"),
        (lambda: SAM(rho=-0.1), "rho = -0.1: must be greater than 0"),
        (lambda: replace(BASE, {"methods": (EMA(), EMA(decay=0.9))}), "'ema' stands there twice"),
        (lambda: replace(BASE, {"methods": "emma"}), "'emma' is no method. Did you mean 'ema'?"),
    ],
)
def test_bad_methods_are_refused(make, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        make()


# --- of one's own


class Slow(Method, tag="slow"):
    """Lookahead (Zhang et al. 2019, arXiv:1907.08610): every second step back to the middle between slow and fast."""

    share: float = lane(0.5, gt=0, le=1)

    def init(self, params, statistics):
        return jax.tree.map(jnp.copy, params)

    def after(self, own, before, after):
        ends = after.step % 2 == 0
        own = jax.tree.map(lambda s, f: jnp.where(ends, s + self.share * (f - s), s), own, after.params)
        params = jax.tree.map(lambda s, f: jnp.where(ends, s, f), own, after.params)
        return own, after.replace(params=params)


def test_a_method_of_ones_own_may_change_what_the_optimizer_left():
    history = states(replace(BASE, {"methods": (Slow(),)}), steps=2)
    equal(history[2].params, history[2].methods["slow"])
    fast = states(BASE, steps=2)[2].params
    middle = jax.tree.map(lambda a, b: (a + b) / 2, history[0].params, fast)
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), history[2].params, middle)


class Shrinking(Method, tag="shrinking"):
    def evaluated(self, own, variables):
        return {"params": jax.tree.map(lambda x: x[..., :1], variables["params"])}


def test_what_is_evaluated_must_be_of_the_networks_shapes():
    with pytest.raises(ConfigError, match="what the method 'shrinking' evaluates changes params"):
        check(replace(BASE, {"methods": (Shrinking(),)}))


class Instead(Method, tag="instead"):
    @property
    def measured(self):
        return "instead"

    def evaluated(self, own, variables):
        return variables


def test_only_one_can_be_measured_instead():
    with pytest.raises(ConfigError, match="ema and instead are both evaluated instead"):
        replace(BASE, {"methods": (EMA(evaluate="instead"), Instead())})


def test_a_lane_that_python_looks_at_is_refused():
    with pytest.raises(ConfigError, match="share is a lane"):

        class Looks(Method, tag="looks"):
            share: float = lane(0.5)

            def after(self, own, before, after):
                return own, after if self.share > 0 else before
