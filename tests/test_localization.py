"""One class and one box an image: losses and metrics by hand, the boxes' way through a training, a picture on disk."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, log_softmax

import cnnjax
from cnnjax import (
    Dice,
    Experiment,
    Flip,
    FlipViews,
    GIoU,
    Hardware,
    Localization,
    Options,
    RandomCrop,
    Shapes,
    SigmoidCrossEntropy,
    SmallCNN,
    SmoothL1,
    SoftmaxCrossEntropy,
    metrics,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check, functions_of, length_of
from cnnjax.run.evaluate import evaluate
from cnnjax.tasks import Boxes
from tests.exports import said_by_program

ONE = Options(Hardware(devices=1))
DATA = Shapes(size=16, objects=1, radius=(3.0, 6.0), examples=24, test_examples=8)
BASE = Experiment(model=SmallCNN(features=2), data=DATA, task=Localization(), steps=2, batch_size=8, validation=0)
FORM = DATA.load()


def area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def overlap(one, other):
    shared = area([*np.maximum(one[:2], other[:2]), *np.minimum(one[2:], other[2:])])
    return shared / (area(one) + area(other) - shared)


def corners(z):
    x, y, width, height = expit(z)
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def test_the_loss_is_that_of_class_and_box():
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(3, 8)).astype(np.float32)
    target = np.array([[2, 0.1, 0.2, 0.5, 0.9], [0, 0.5, 0.5, 0.75, 1.0], [-1, 0, 0, 0, 0]], np.float32)
    for box_loss in (SmoothL1(beta=0.2), GIoU()):
        task = Localization(box_loss=box_loss, box_weight=3.0)

        @jax.jit
        def losses(outputs, task=task):
            return task.losses(outputs, jnp.asarray(target), loss=SoftmaxCrossEntropy(), form=FORM)

        found, back = jax.vjp(losses, outputs)
        for own, z, (label, *true) in zip(found[:2], outputs, target, strict=False):
            if isinstance(box_loss, GIoU):
                box, true = corners(z[4:]), np.array(true)
                shared = overlap(box, true)
                around = area([*np.minimum(box[:2], true[:2]), *np.maximum(box[2:], true[2:])])
                union = (area(box) + area(true)) / (1 + shared)
                of_box = 1 - shared + (around - union) / around
            else:
                left, top, right, bottom = true
                off = abs(expit(z[4:]) - [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
                of_box = np.where(off < 0.2, off**2 / 0.4, off - 0.1).sum()
            np.testing.assert_allclose(own, -log_softmax(z[:4])[int(label)] + 3 * of_box, rtol=1e-5)
        # One without a box costs nothing and moves nothing.
        assert found[2] == 0
        [gradient] = back(jnp.ones(3))
        assert np.isfinite(gradient).all()
        assert not gradient[2].any()


def test_the_numbers_by_hand():
    """Of five images one is padding and one has no box: of three objects two are of the right class, one is found."""
    sums = jax.jit(metrics.measure_localization)(
        right=jnp.array([True, True, False, True, True]),
        iou=jnp.array([0.5, 0.4, 0.9, 0.7, 1.0]),
        there=jnp.array([True, True, True, False, True]),
        valid=jnp.array([True, True, True, True, False]),
        losses=jnp.array([1.0, 2.0, 3.0, 0.0, jnp.nan]),
    )
    found = metrics.summarize_localization(sums)
    assert found == pytest.approx(
        {"count": 4, "objects": 3, "loss": 1.5, "localized": 1 / 3, "mean_iou": 0.6, "accuracy": 2 / 3}
    )


def test_boxes_follow_their_images():
    """What a flip and a crop make of a box is what they make of a picture of it."""
    experiment = replace(BASE, {"augment": (Flip(probability=1.0), RandomCrop(padding=3))})
    functions = functions_of(experiment, length_of(experiment))
    batch = {name: array[:8] for name, array in FORM.train.values.items() if name != "mask"}
    batch["image"] = np.zeros((8, 16, 16, 3), np.uint8)
    for image, box in zip(batch["image"], batch["boxes"][:, 0].astype(int), strict=True):
        image[box[1] : box[3], box[0] : box[2]] = 255
    number = np.arange(8)
    given = {**batch, "position": number, "index": number}, jax.random.key(0), jnp.int32(0)
    _, [(target, _)], seen = jax.jit(functions.inputs)(*given)
    for image, (label, *box), own in zip(seen[..., 0], np.asarray(target), batch["box_label"][:, 0], strict=True):
        rows, columns = (np.flatnonzero(np.asarray(image).any(axis)) for axis in (1, 0))
        assert label == own
        expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(16 * np.array(box), expected, atol=1e-4)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial") / "run"
    cnnjax.train(BASE, folder, options=ONE)
    return folder


def test_results_are_those_of_the_boxes_that_are_told(trial):
    test = FORM.test
    said = cnnjax.load(trial).predict(test.images)
    assert isinstance(said, Boxes)
    true = test.values["boxes"][:, 0] / 16
    overlaps = np.array([overlap(*pair) for pair in zip(said.boxes[:, 0], true, strict=True)])
    right = said.labels[:, 0] == test.values["box_label"][:, 0]
    found = evaluate(trial, hardware=ONE.hardware)["test"]
    assert found["mean_iou"] == pytest.approx(overlaps.mean(), rel=1e-5)
    assert found["accuracy"] == right.mean()
    assert found["localized"] == (right & (overlaps >= 0.5)).mean()


def test_predict_draws_the_box(trial, run, tmp_path):
    Image.fromarray(FORM.test.images[0]).save(tmp_path / "shape.png")
    code, out, err = run("predict", trial, tmp_path / "shape.png", "--out", tmp_path / "found", "--json")
    assert code == 0, err
    [row] = json.loads(out)["predictions"]
    [found] = row["objects"]
    assert found["class"] in FORM.classes
    drawn = np.asarray(Image.open(row["picture"])).astype(int)
    changed = abs(drawn - FORM.test.images[0]).any(-1)
    left, top = (round(16 * side) for side in found["box"][:2])
    assert changed[top, left]
    assert not changed.all()
    code, out, err = run("predict", trial, tmp_path / "shape.png")
    assert code == 0, err
    assert found["class"] in out


def test_an_exported_program_says_the_box_too(trial, tmp_path):
    trained, images = cnnjax.load(trial), FORM.test.images[:3]
    said, found = said_by_program(trained, images, tmp_path), trained.predict(images)
    np.testing.assert_allclose(said["boxes"], found.boxes[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(said["probabilities"].argmax(-1), found.labels[:, 0])
    np.testing.assert_allclose(said["probabilities"].max(-1), found.scores[:, 0], rtol=1e-4)


def test_a_box_is_drawn_where_it_is():
    box = np.array([[[0.25, 0.5, 0.75, 1.0]]], np.float32)
    said = Boxes(
        boxes=np.repeat(box, 2, 1),
        scores=np.array([[0.9, 0.8]]),
        labels=np.array([[1, 0]]),
        valid=np.array([[True, False]]),
        classes=("a", "b"),
    )
    drawn = said.overlay(np.zeros((1, 8, 8, 1), np.uint8), names=False)[0].any(-1)
    expected = np.zeros((8, 8), bool)
    expected[4:8, 2:6] = True
    expected[5:7, 3:5] = False
    np.testing.assert_array_equal(drawn, expected)
    assert said.rows() == [{"objects": [{"class": "b", "score": 0.9, "box": [0.25, 0.5, 0.75, 1.0]}]}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": replace(DATA, {"objects": 2})}, "up to 2 boxes; take data with one, such as shapes with objects=1"),
        ({"data": "digits"}, "its target is 'boxes', and the examples of digits have image, label"),
        ({"loss": SigmoidCrossEntropy()}, "loss = 'sigmoid' is not of one class among several; take softmax"),
        ({"loss": Dice()}, "dice loss: it is of masks"),
        ({"test_time": FlipViews()}, "those of several views have no mean"),
        ({"mixing": "mixup"}, "task 'localization' is of boxes, which of two images mixed belong to one or the other"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises((ConfigError, cnnjax.ShapeError), match=message):
        check(replace(BASE, changes))


def test_one_class_is_told_of_an_object(trial, run, tmp_path):
    Image.fromarray(FORM.test.images[0]).save(tmp_path / "shape.png")
    code, _, err = run("predict", trial, tmp_path / "shape.png", "--top", 2)
    assert code != 0
    assert "every object that is found is told" in err
