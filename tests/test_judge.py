"""A trained network that a task asks about images, in evaluation: its features, its record, and what is refused."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import Classification, Experiment, Hardware, Options, SmallCNN
from cnnjax.config import replace
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import check
from cnnjax.records.specification import Specification
from cnnjax.run.directory import RunDirectory
from cnnjax.run.program import Program
from cnnjax.run.teachers import teachers_of
from cnnjax.tasks import JUDGE
from tests.teachers import DATA, made

ONE = Options(hardware=Hardware(devices=1))


class Asked(Classification, tag="asked_of_a_test"):
    """Classification, which measures the mean feature that a judge has of the images, too."""

    judge: str | None = None
    most: int = 1000

    def judge_run(self):
        return self.judge

    def check_judge(self, features, examples):
        if features > self.most:
            raise ConfigError(f"task.judge: {features} features, {examples}")

    def gather(self, outputs, target, *, loss, form):
        return {"label": target}

    def judged(self, outputs, target, judge, *, loss, form):
        return {"features": judge(target[:, None, None, None] / 4 * np.ones((1, 8, 8, 1), np.float32))}

    def summarize(self, sums, form):
        means = {} if "features" not in sums else {"feature": float(sums["features"].mean())}
        return super().summarize(sums, form) | means

    def specifications(self, loss, form):
        added = Specification(name="feature", total="feature", unit="", higher_is_better=False, printed=".4f")
        return (*super().specifications(loss, form), added)


@pytest.fixture(scope="module")
def base():
    return Experiment(
        model=SmallCNN(features=2), data=DATA, task=Asked(judge=str(made())), batch_size=16, steps=2, validation=0
    )


def test_features_are_what_the_layer_of_logits_is_given(base):
    teacher = teachers_of(base)[JUDGE]
    run: Any = cnnjax.load(made())
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    features = np.asarray(teacher.features(run.variables, jnp.asarray(images / np.float32(255))))
    assert features.shape == (5, 2 * 2 * 6)
    logits = features @ run.params["logits"]["kernel"] + run.params["logits"]["bias"]
    np.testing.assert_allclose(logits, run.predict(images).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("packed", [1, 2])
def test_an_evaluation_asks_it(base, packed):
    trials = [base.model_copy(update={"seed": seed}) for seed in range(packed)]
    program = Program(base, packed=packed, hardware=Hardware(devices=1))
    found = program.evaluate(program.init(trials), "test")
    labels, features = (found[name].reshape(-1, *found[name].shape[packed > 1 :][1:]) for name in ("label", "features"))
    run: Any = cnnjax.load(made())
    images = np.broadcast_to((labels / np.float32(4)).reshape(-1, 1, 1, 1), (len(labels), 8, 8, 1)).astype(np.float32)
    logits = features @ run.params["logits"]["kernel"] + run.params["logits"]["bias"]
    np.testing.assert_allclose(logits, run.predict(images).logits, rtol=1e-3, atol=1e-4)


def test_a_result_says_which_run_was_asked(base, tmp_path):
    metrics = cnnjax.train(base, tmp_path / "run", options=ONE)["metrics"]
    assert np.isfinite(metrics["test_feature"])
    held = RunDirectory(tmp_path / "run").finished()
    assert held is not None
    assert held.used_runs[JUDGE].path == str(made())
    # A run in use needs no judge, an evaluation does.
    assert len(cnnjax.load(tmp_path / "run").predict(DATA.load().test.batch(np.arange(2))["image"])) == 2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"task.judge": "nowhere"}, RunError, "task.judge: there is no run 'nowhere' to ask; train it first"),
        ({"task.most": 23}, ConfigError, "task.judge: 24 features, {'test': 20}"),
        ({"data.channels": 3}, ConfigError, "takes images of 1 channels, and those of .* have 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(base, changes, error, words):
    changed = replace(base, changes)
    with pytest.raises(error, match=words):
        check(changed, teachers=teachers_of(changed))
