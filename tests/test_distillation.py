"""Distillation from a run: its steps by hand, whose teacher can teach whom, and runs that change or are gone."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import (
    EMA,
    SAM,
    BatchNorm,
    Distillation,
    Flip,
    Hardware,
    Method,
    Mixup,
    Options,
    SigmoidCrossEntropy,
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
from cnnjax.errors import ConfigError, Interrupted, RunError
from cnnjax.events import StepTaken
from cnnjax.experiment import check
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.run.teachers import loaded_teachers, teachers_of
from cnnjax.study.study import with_overrides
from cnnjax.training.step import train_step
from tests.marks import slow
from tests.test_sigmoid_targets import BASE, stepped_by_hand

ONE = Options(Hardware(devices=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with batch statistics, dropout and an average of its weights, on images of another scale than BASE's."""
    folder = tmp_path_factory.mktemp("distillation") / "teacher"
    model = SmallCNN(features=3, dense=0, norm=BatchNorm(), dropout=0.3)
    changes = {"model": model, "methods": (EMA(decay=0.5),), "data.mean": (0.3,), "data.std": (0.4,)}
    train(replace(BASE, changes), folder, options=ONE)
    return folder


def student(folder, **fields):
    return replace(BASE, {"methods": (Distillation(teacher=str(folder), **fields),)})


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


# --- what is computed


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"temperature": 3.0, "alpha": 0.7}, {"mixing": Mixup(alpha=1.0), "augment": (Flip(),)}),
        *slow(({"labels": "hard", "alpha": 0.5}, {}), ({"weights": "ema", "alpha": 1.0}, {})),
    ],
)
def test_three_steps_by_hand(fields, changes, folder):
    """The teacher says of the augmented and mixed images what `predict` says, normalized as it was trained."""
    experiment = replace(student(folder, **fields), changes)
    (method,), teacher = experiment.methods, load(folder, weights=fields.get("weights"))

    def slopes_of(logits, mixed, images):
        said = np.asarray(teacher.predict(images).logits, np.float64)
        temperature, alpha = method.temperature, method.alpha
        # d T^2 KL(p || q) / dz = T (q - p), where q = softmax(z / T).
        taught = temperature * (softmax(logits / temperature) - softmax(said / temperature))
        if method.labels == "hard":
            taught = softmax(logits) - np.eye(4)[said.argmax(1)]
        slopes = (1 - alpha) * (softmax(logits) - mixed) + alpha * taught
        return -(mixed * np.log(softmax(logits))).sum(1), slopes

    stepped_by_hand(experiment, slopes_of, steps=3)


def test_the_loss_by_hand():
    """At T = 1, of (1/4, 3/4) and the teacher's (3/4, 1/4) KL = 3/4 ln 3 - 1/4 ln 3; a spare output teaches nothing."""
    logits, teacher = jnp.log(jnp.array([[1.0, 3.0, 9.0]])), jnp.log(jnp.array([[3.0, 1.0]]))
    method = partial(Distillation, teacher="runs/teacher")
    losses = method(temperature=1.0, alpha=0.25).losses(jnp.ones(1), logits, teacher=teacher)
    assert_allclose(losses, 0.75 + 0.25 * np.log(3) / 2, rtol=1e-6)
    losses = method(labels="hard", alpha=0.5).losses(jnp.ones(1), logits, teacher=teacher)
    assert_allclose(losses, 0.5 + 0.5 * np.log(4), rtol=1e-6)


@pytest.mark.parametrize("shown", [12, 5])
def test_images_of_another_size_are_resized_for_the_teacher(shown, folder):
    """Of images of one grey, whatever their size, it says what it says of its own."""
    loaded = loaded_teachers(student(folder))["distillation"]
    small = loaded.teacher.outputs(loaded.variables, jnp.full((1, shown, shown, 1), 0.6))
    assert_allclose(small, load(folder).predict(np.full((8, 8, 1), 0.6, np.float32)).logits, rtol=1e-4, atol=1e-5)


def test_a_teacher_is_no_part_of_the_state_nor_of_what_is_compiled(folder):
    experiment = student(folder)
    program = Program(experiment, packed=2, hardware=Hardware(devices=1))
    state = program.init([experiment, replace(experiment, {"seed": 1})])
    assert state.methods == {}
    plain = Program(BASE, hardware=Hardware(devices=1))
    assert jax.tree.structure(program.blank()).num_leaves == jax.tree.structure(plain.blank()).num_leaves + 2  # lanes
    # One copy for both trials, and none within the program.
    jax.tree.map(
        np.testing.assert_array_equal, jax.device_get(program.fixed["distillation"]), dict(load(folder).variables)
    )
    rows = program.rows([experiment] * 2, 0)
    one = jax.tree.map(lambda leaf: leaf[0], state)
    batch = program.fetch(program.feed.data, rows | {"index": rows["index"][0]})
    traced = jax.make_jaxpr(partial(train_step, program.functions))(one, batch, program.fixed)
    assert sum(np.size(constant) for constant in traced.consts) < 20


def test_weights_by_name(folder):
    raw, ema = (loaded_teachers(student(folder, weights=name))["distillation"] for name in ("raw", "ema"))
    assert raw.teacher != ema.teacher
    jax.tree.map(np.testing.assert_array_equal, dict(ema.variables), dict(load(folder, weights="ema").variables))
    with pytest.raises(ConfigError, match=r"teacher '.*': 'swa' is no weights of this run"):
        loaded_teachers(student(folder, weights="swa"))


@pytest.mark.parametrize("changes", slow({"accumulate": 2}))
def test_parts_and_a_sharpness_aware_step_around_it(changes, folder):
    """Two parts give the gradient of the whole; with SAM both passes have the teacher."""
    experiment = student(folder)
    experiment = replace(experiment, {"methods": (SAM(rho=0.1), *experiment.methods)})
    found = []
    for one in (experiment, replace(experiment, changes)):
        program = Program(one, hardware=Hardware(devices=1))
        state, _ = program.train(program.init([one]), program.rows([one], 0))
        found.append(jax.device_get(state.params))
    jax.tree.map(partial(assert_allclose, rtol=2e-4, atol=2e-6), *found)


# --- whose teacher it can be


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.classes": 3}, "tells 4 classes apart, and synthetic has 3"),
        ({"data.channels": 3}, "takes images of 1 channels, and those of synthetic have 3"),
        ({"loss": SigmoidCrossEntropy()}, "its student, this experiment, has task = 'classification' and loss = 'sigm"),
    ],
)
def test_students_that_it_cannot_teach(changes, words, folder):
    experiment = replace(student(folder), changes)
    with pytest.raises(ConfigError, match=re.escape(words)):
        check(experiment, teachers=teachers_of(experiment))


def test_a_student_with_other_classes_in_their_place(folder, monkeypatch):
    experiment = student(folder)
    teachers = teachers_of(experiment)
    held = teachers["distillation"].form
    for names, words in (
        (("b", *held.classes[1:]), "has other classes: output 0 is 'b' there, and"),
        (tuple(reversed(held.classes)), "has the same classes in another order: output 0 is"),
    ):
        monkeypatch.setitem(vars(held), "classes", names)
        with pytest.raises(ConfigError, match=re.escape(words)):
            check(experiment, teachers=teachers)


def test_a_teacher_that_is_no_classifier(tmp_path):
    train(replace(BASE, {"loss": SigmoidCrossEntropy(), "steps": 1}), tmp_path / "teacher", options=ONE)
    with pytest.raises(ConfigError, match="the teacher .* has task = 'classification' and loss = 'sigmoid'"):
        plan(student(tmp_path / "teacher"), hardware=ONE.hardware)


def test_teachers_that_are_not_there(tmp_path):
    missing = student(tmp_path / "none")
    words = "methods: distillation: there is no run .*none' to learn from; train it first"
    one = ONE.hardware
    for refused in (
        partial(plan, missing, hardware=one),
        partial(describe, missing),
        partial(train, missing, tmp_path / "student", options=ONE),
    ):
        with pytest.raises((ConfigError, RunError), match=words):
            refused()
    with pytest.raises(ConfigError, match="was not read: give the check its teachers"):
        check(missing)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="is not a run directory"):
        plan(missing, hardware=one)


def test_a_teacher_must_be_finished_and_elsewhere(folder, tmp_path):
    def stop(event):
        if isinstance(event, StepTaken):
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        train(BASE, tmp_path / "begun", options=Options(ONE.hardware, checkpoint_steps=1), sinks=[stop])
    with pytest.raises(ConfigError, match=r"begun.*(is not finished \(step 1 of 3\)|has no checkpoint yet)"):
        plan(student(tmp_path / "begun"), hardware=ONE.hardware)
    for out in (folder, folder.parent):
        with pytest.raises(RunError, match=r"distillation: the run .* lies in .*: choose --out"):
            train(student(folder), out, options=ONE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": 0.0}, "temperature = 0.0: must be greater than 0"),
        ({"alpha": 1.1}, "alpha = 1.1: must be less than or equal to 1"),
        ({"labels": "hard", "temperature": 2.0}, "temperature = 2.0: hard labels have none; leave it out"),
        ({"labels": "warm"}, "labels = 'warm'"),
        ({"teacher": ""}, "teacher = ''"),
    ],
)
def test_bad_values_are_refused(fields, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        Distillation(**{"teacher": "runs/teacher"} | fields)


# --- runs that change, or are gone


def test_a_changed_teacher_is_noticed_and_a_finished_student_needs_none(folder, tmp_path):
    own, out = tmp_path / "teacher", tmp_path / "student"
    shutil.copytree(folder, own)
    experiment, options = student(own), Options(ONE.hardware, checkpoint_steps=1)

    def stop(event):
        if isinstance(event, StepTaken) and event.step == 2:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        train(experiment, out, options=options, sinks=[stop])
    shutil.copytree(out, tmp_path / "begun")
    result = train(experiment, out, options=options)
    assert result["teachers"]["distillation"]["path"] == str(own)
    assert train(experiment, out, options=options) == result
    shutil.rmtree(own)
    assert train(experiment, out, options=options) == result
    recorded = json.loads((out / "evaluation.json").read_text())["test"]
    assert evaluate(out, hardware=ONE.hardware)["test"] == recorded
    assert load(out).predict(np.zeros((8, 8, 1), np.uint8)).logits.shape == (1, 4)
    train(replace(load(folder).experiment, {"seed": 5}), own, options=ONE)
    for run_folder in (out, tmp_path / "begun"):
        with pytest.raises(RunError, match=f"{run_folder.name} learned from other weights than .*teacher holds now"):
            train(experiment, run_folder, options=options)


# --- plans and commands


def test_memory_and_plans_of_a_study(folder):
    plain, taught = describe(BASE).memory, describe(student(folder)).memory
    bytes_of = sum(leaf.nbytes for leaf in jax.tree.leaves(load(folder).variables))
    assert "teachers" not in plain.to_json()
    assert taught.to_json()["teachers"] == bytes_of
    # It takes room for its weights, and for what it computes.
    assert taught.total > plain.total + bytes_of
    study = Study(student(folder), axes={"methods.0.alpha": [0.0, 0.5], "methods.0.temperature": [1.0, 4.0]}, seeds=1)
    made = plan(study, hardware=ONE.hardware)
    assert (len(made.trials), len(made.programs)) == (4, 1)
    assert made.trials[0].kept["distillation"] == bytes_of
    assert dict(describe(student(folder)).kept)["distillation"] == bytes_of
    wide = replace(student(folder), {"data": Synthetic(height=12, width=12, channels=1, classes=4, examples=24)})
    [*_, warning] = plan(wide, hardware=ONE.hardware).trials[0].warnings
    assert "is for images of 8x8, and is shown those of 12x12 resized to that" in warning
    missing = Study(BASE, axes={"methods": [(), Distillation(teacher="runs/none")]}, seeds=1)
    (pruned,) = plan(missing, hardware=ONE.hardware).pruned
    assert "there is no run 'runs/none' to learn from" in pruned.reason


@pytest.mark.slow
def test_a_teacher_and_its_student_from_the_command_line(run, tmp_path):
    (tmp_path / "digits.py").write_text(
        "from cnnjax import Digits, Experiment, SmallCNN\n"
        "experiment = Experiment(model=SmallCNN(features=2), data=Digits(), steps=1)\n"
    )
    code, out, _ = run("train", "digits.py", "model.features=4", "--out", "runs/teacher")
    assert code == 0, out
    words = ["methods=distillation", "methods.0.teacher=runs/teacher", "methods.0.temperature=2"]
    code, out, _ = run("train", "digits.py", *words, "--out", "runs/student")
    assert code == 0, out
    assert json.loads((tmp_path / "runs/student/result.json").read_text())["teachers"]["distillation"]["path"]
    code, out, _ = run("evaluate", "runs/student")
    assert code == 0, out


def test_methods_on_the_command_line_name_their_teacher():
    texts = {"methods": "[sam,distillation]", "methods.1.teacher": "runs/a", "methods.1.labels": "hard"}
    assert replace_texts(BASE, texts).methods == (SAM(), Distillation(teacher="runs/a", labels="hard"))
    texts = {"methods": "distillation", "methods.0.teacher": "7", "methods.0.alpha": "0.5"}
    assert replace_texts(BASE, texts).methods == (Distillation(teacher="7", alpha=0.5),)
    both = with_overrides(Study(BASE), {"methods": "none,[sam,distillation]", "methods.1.teacher": "runs/a"})
    assert [both.varied(arm).methods for arm in both.arms] == [(), (SAM(), Distillation(teacher="runs/a"))]
    teachers = with_overrides(Study(BASE), {"methods": "distillation", "methods.0.teacher": "runs/a,runs/b"})
    assert [teachers.varied(arm).methods[0].teacher for arm in teachers.arms] == ["runs/a", "runs/b"]
    with pytest.raises(ConfigError, match=r"methods\.0\.teacher: is required"):
        replace_texts(BASE, {"methods": "distillation"})


# --- of one's own


class Confident(Method, tag="confident_by_users"):
    """Adds `weight` times the squared logits to the loss, without a teacher."""

    weight: float = lane(0.1, ge=0)

    def losses(self, losses, outputs, *, teacher):
        return losses + self.weight * jnp.square(outputs).sum(1)


def test_a_method_of_ones_own_adds_to_the_loss():
    def slopes_of(logits, mixed, images):
        return -(mixed * np.log(softmax(logits))).sum(1), softmax(logits) - mixed + 0.4 * logits

    stepped_by_hand(replace(BASE, {"methods": (Confident(weight=0.2),)}), slopes_of)
