"""Stochastic weight averaging: which weights, their average, and that a run's numbers are those of what it left."""

from __future__ import annotations

import io
import json
import re
from functools import partial

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from rich.console import Console

import cnnjax
from cnnjax import (
    EMA,
    SAM,
    SGD,
    SWA,
    BatchNorm,
    Constant,
    Experiment,
    Hardware,
    Options,
    SmallCNN,
    Synthetic,
    load,
    plan,
    train,
)
from cnnjax.analysis.layer_table import _remarks
from cnnjax.config import replace
from cnnjax.documents.quantities import short_bytes
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import check
from cnnjax.records.result_json import EvaluationRecord
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.study.plan_table import plan_table
from tests.test_run import Crash, crash_at

ONE = Hardware(devices=1)
# 32 examples to train on: epochs of 4 steps.
BASE = Experiment(
    model=SmallCNN(features=2, blocks=1, norm=BatchNorm(), dense=0),
    data=Synthetic(height=6, width=6, channels=1, classes=3, examples=40, test_examples=12),
    optim=SGD(learning_rate=0.05, schedule=Constant()),
    methods=(SWA(start=0.3, every=0.5, evaluate="instead"),),
    validation=8,
    batch_size=8,
    steps=8,
)


@pytest.mark.parametrize(
    ("method", "steps", "expected"),
    [
        (SWA(start=0.75, every=1.0), 40, [30, 40]),
        (SWA(start=0.7, every=1.0), 40, [30, 40]),
        (SWA(start=0.75, every=0.25), 40, [30, 32, 34, 36, 38, 40]),
        (SWA(start=2, every=1.0), 40, [20, 30, 40]),
        # Counted back from the last step.
        (SWA(start=2, every=1.0), 43, [23, 33, 43]),
        (SWA(start=0, every=2.0), 40, [0, 20, 40]),
        (SWA(start=0.0, every=0.01), 3, [0, 1, 2, 3]),
    ],
)
def test_the_steps_that_are_averaged(method, steps, expected):
    assert list(method.steps_averaged(steps=steps, steps_per_epoch=10)) == expected


def test_the_average_is_that_of_its_formula():
    program = Program(BASE, hardware=ONE)
    state = program.init([BASE])
    taken = []
    for step in range(8):
        state, _ = program.train(state, program.rows([BASE], step))
        params, held = jax.device_get((state.params, state.methods["swa"]))
        # ceil(0.3 * 8) = 3, so the even steps from 4 on.
        taken += [params] if step + 1 in (4, 6, 8) else []
        assert held["averaged"] == len(taken)
        evaluated = jax.device_get(program.with_weights_of(state, "swa").params)
        mean = jax.tree.map(lambda *leaves: np.mean(np.asarray(leaves, np.float64), 0), *(taken or [params]))
        # float32 of three additions.
        jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-6, atol=1e-7), evaluated, mean)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (SWA(start=2), "start = 2: that is step 8 (2 epochs of 4 steps), and the training has 8; start earlier"),
        (SWA(start=0.75), "of the 8 steps only the last is averaged, for between step 6 and it are no 1 epochs of 4"),
    ],
)
def test_an_average_of_fewer_than_two_is_refused(method, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        check(replace(BASE, {"methods": (method,)}))


def test_what_methods_keep_is_told():
    methods = (SAM(), EMA(warmup=True, batch_statistics="anew"), *BASE.methods)
    planned = plan(replace(BASE, {"methods": methods}), hardware=ONE)
    # 2 kernels of 3x3, scales and biases, and 3 logits of 2 maps of 3x3; mean and variance of 2 channels.
    params, statistics = 18 + 4 + 18 * 3 + 3, 4
    expected = {
        "sgd": 4 * params + 4,  # momentum, and a count of steps for the schedule
        "sam": 0,
        "ema": 4 * (params + statistics) + 4 * statistics + 4,  # both averages; the estimate and its step
        "swa": 4 * params + 4 + 4 * statistics + 4,
    }
    assert planned.to_json()["trials"][0]["kept"] == expected
    described = cnnjax.describe(planned.trials[0].experiment)
    assert described.params == params
    assert described.to_json()["kept"] == expected
    words = f"sgd {short_bytes(expected['sgd'])}, sam {short_bytes(0)}, ema {short_bytes(expected['ema'])}, swa"
    console = Console(width=400, file=io.StringIO())
    console.print(plan_table(planned))
    assert f"kept from step to step, at most: {words}" in console.file.getvalue()
    assert f"kept from step to step, beside the parameters: {words}" in "\n".join(_remarks(described))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swa") / "whole"
    return folder, train(BASE, folder, options=Options(ONE, checkpoint_steps=3))


def test_what_a_run_left_gives_its_numbers(run):
    folder, result = run
    record = json.loads((folder / EvaluationRecord.filename).read_text())
    measured = evaluate(folder, hardware=ONE)
    assert {part: record[part] for part in measured} == measured
    test = BASE.data.load().test
    labels = np.asarray(test.values["label"])
    said = load(folder).predict(np.asarray(test.values["image"]))
    # Another program than the evaluation's: float32 of 12 examples.
    loss = -np.log(said.probabilities[np.arange(len(labels)), labels]).mean()
    assert_allclose(loss, result["metrics"]["test_loss"], rtol=1e-5)
    raw = load(folder, weights="raw").predict(np.asarray(test.values["image"]))
    assert not np.allclose(said.logits, raw.logits)


def test_another_training_starts_from_the_average(run):
    folder, _ = run
    experiment = replace(BASE, {"initial": str(folder), "methods": ()})
    state = jax.device_get(Program(experiment, hardware=ONE).init([experiment]))
    loaded = load(folder)
    for name in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, name), getattr(loaded, name))


def test_a_training_that_crashed_continues_bitwise(run, tmp_path):
    folder, _ = run
    options = Options(ONE, checkpoint_steps=3)
    with pytest.raises(Crash):
        train(BASE, tmp_path, options=options, sinks=[crash_at(5)])
    # A checkpoint amid an epoch has no statistics of its average.
    for use in (load, partial(evaluate, hardware=ONE)):
        with pytest.raises(RunError, match="the weights 'swa' of step 3 have no batch statistics"):
            use(tmp_path)
    assert load(tmp_path, weights="raw").step == 3
    train(BASE, tmp_path, options=options)
    for file in ("metrics.jsonl", "evaluation.json"):
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes()
    whole, crashed = load(folder).state, load(tmp_path).state
    assert jax.tree.structure(whole) == jax.tree.structure(crashed)
    jax.tree.map(np.testing.assert_array_equal, whole, crashed)
