"""Detection in one stage: which place says what and what that costs, by hand; and its way through a training."""

from __future__ import annotations

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, logit

import cnnjax
from cnnjax import (
    AnchorFree,
    Detection,
    Experiment,
    FlipViews,
    Focal,
    GridDetector,
    Hardware,
    Options,
    Shapes,
    SmallCNN,
    SmoothL1,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.metrics import summarize_detections
from cnnjax.models.detectors import Rows, places_of
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.training.step import in_order
from tests.exports import check_boxes_of_program

ONE = Options(Hardware(devices=1))
DATA = Shapes(size=16, objects=2, radius=(3.0, 6.0), examples=24, test_examples=10)
BASE = Experiment(
    model=SmallCNN(features=2),
    data=DATA,
    task=Detection(head=AnchorFree(stride=2, levels=2, features=8, depth=1), most=20, candidates=40),
    loss=Focal(),
    steps=2,
    batch_size=8,
    validation=0,
)
FORM = DATA.load()
CLASSES = len(FORM.classes)


def rows(head, strides, size=16):
    """The places of an image of that size, with what a network may say at them."""
    references, stride = [], []
    for step in strides:
        found = np.asarray(places_of(size // step, size // step, step, head.references(step)))
        references.append(found)
        stride.append(np.full(len(found), step, np.float32))
    reference, stride = np.concatenate(references), np.concatenate(stride)
    rng = np.random.default_rng(0)
    said = rng.normal(size=(len(reference), 5 + CLASSES)).astype(np.float32)
    codes = np.concatenate([head.coded(said[stride == s, :4], reference[stride == s], s) for s in strides])
    return Rows(reference, stride, codes, said[:, 4], said[:, 5:])


def packed(parts):
    return np.concatenate(
        [parts.reference, parts.stride[:, None], parts.codes, parts.quality[:, None], parts.logits], 1
    ).astype(np.float32)


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


BOXES = np.array([[1, 1, 7, 6], [2, 2, 16, 15], [3, 0, 6, 16], [0, 0, 0, 0]], np.float32)
VALID = np.array([True, True, True, False])


def by_loops(head, parts, strides):
    """The object of each place by the rule as it is written."""
    found = []
    for reference, stride in zip(parts.reference, parts.stride, strict=True):
        x, y = middle(reference)
        could = []
        for number in np.flatnonzero(VALID):
            left, top, right, bottom = BOXES[number]
            sides = np.array([x - left, y - top, right - x, bottom - y]) / stride
            own = middle(BOXES[number])
            near = max(abs(x - own[0]), abs(y - own[1])) < head.radius * stride
            low = 0 if stride == strides[0] else head.reach / 2
            high = np.inf if stride == strides[-1] else head.reach
            if sides.min() > 0 and near and low < sides.max() <= high:
                could.append(((right - left) * (bottom - top), number))
        found.append(min(could)[1] if could else -1)
    return np.array(found)


@pytest.mark.parametrize("strides", [(2,), (2, 4)])
def test_an_object_is_said_by_the_places_of_its_middle(strides):
    head = AnchorFree(stride=2, levels=len(strides), reach=3.0)
    parts = rows(head, strides)
    expected = by_loops(head, parts, strides)
    assert set(expected) >= {-1, 0, 1}
    np.testing.assert_array_equal(jax.jit(head.assigned)(parts, BOXES, VALID), expected)


def test_an_object_is_said_by_the_cell_of_its_middle():
    head = GridDetector(stride=4, shapes=((1.0, 1.5), (3.0, 3.0)))
    parts = rows(head, (4,))
    found = np.asarray(jax.jit(head.assigned)(parts, BOXES, VALID))
    # Middles 4, 3.5 and 9, 8.5 and 4.5, 8 are in the cells of row 0, column 1; row 2, column 2; row 2, column 1. The
    # first and the last are more like 4x6, the one between them like 12x12; two shapes stand at each of 4x4 cells.
    assert {place: found[place] for place in np.flatnonzero(found >= 0)} == {2 * 1: 0, 2 * 10 + 1: 1, 2 * 9: 2}


def focal(z, t, gamma=2.0, alpha=0.25):
    p = expit(z.astype(np.float64))
    right = np.where(t > 0, p, 1 - p)
    return -np.where(t > 0, alpha, 1 - alpha) * (1 - right) ** gamma * np.log(right)


@pytest.mark.parametrize("head", [AnchorFree(stride=2, reach=3.0), GridDetector(stride=4)], ids=lambda head: head.tag)
def test_the_loss_by_hand(head):
    strides = (head.stride,)
    parts = rows(head, strides)
    labels = np.array([1, 3, 2, -1], np.float32)
    # The third is a crowd, and nothing is to say it.
    target = np.concatenate([labels[:, None], BOXES, [[0], [0], [1], [0]]], 1).astype(np.float32)
    object_of = np.asarray(head.assigned(parts, BOXES, VALID & (np.arange(4) != 2)))
    says = object_of >= 0
    truth = np.asarray(head.codes(BOXES[object_of[says]], parts.reference[says]))
    off = abs(parts.codes[says] - truth)
    of_boxes = np.where(off < 0.5, off**2, off - 0.25).sum()
    wanted = np.zeros_like(parts.logits)
    wanted[says, labels[object_of[says]].astype(int)] = 1
    if head.objectness:
        of_classes = focal(parts.logits, wanted)[says].sum()
        of_quality = focal(parts.quality, says).sum()
    else:
        of_classes = focal(parts.logits, wanted).sum()
        left, up, right, down = truth.T
        quality = np.sqrt(
            np.minimum(left, right) / np.maximum(left, right) * np.minimum(up, down) / np.maximum(up, down)
        )
        p = expit(parts.quality[says])
        of_quality = -(quality * np.log(p) + (1 - quality) * np.log(1 - p)).sum()
    task = Detection(head=head, box_loss=SmoothL1(beta=0.5), box_weight=3.0, quality_weight=0.5)

    @jax.jit
    def losses(outputs):
        targets = jnp.stack([target, jnp.full(target.shape, -1.0)])
        return task.losses(outputs, targets, loss=Focal(), form=FORM)

    found, back = jax.vjp(losses, np.stack([packed(parts)] * 2))
    np.testing.assert_allclose(found[0], (of_classes + 3 * of_boxes + 0.5 * of_quality) / says.sum(), rtol=1e-4)
    # Without an object there is what is said all the same.
    nothing = focal(parts.quality, 0) * 0.5 if head.objectness else focal(parts.logits, np.zeros_like(parts.logits))
    np.testing.assert_allclose(found[1], nothing.sum(), rtol=1e-4)
    [gradient] = back(jnp.ones(2))
    assert np.isfinite(gradient).all()


def test_what_is_said_rightly_is_found():
    """Of a network that says the truth the average precision is 1, and of one that is a pixel off it is not."""
    test = FORM.test
    head = AnchorFree(stride=2)
    task = replace(Detection(), {"head": head, "most": 5})
    parts = rows(head, (2,))
    outputs, shifted, targets = [], [], []
    for boxes, valid, labels in zip(*(test.values[name] for name in ("boxes", "box_valid", "box_label")), strict=True):
        object_of = np.asarray(head.assigned(parts, boxes, valid))
        says = object_of >= 0
        logits = np.full(parts.logits.shape, -9.0)
        logits[says, labels[object_of[says]]] = 9.0
        own = np.where(says[:, None], boxes[object_of], parts.reference)
        for made, by in ((outputs, 0.0), (shifted, 1.0)):
            codes = np.asarray(head.codes(own + np.float32(by), parts.reference))
            made.append(packed(parts._replace(codes=codes, logits=logits, quality=np.full(len(says), 9.0))))
        targets.append(np.concatenate([np.where(valid, labels, -1)[:, None], boxes, 0 * boxes[:, :1]], 1))

    @jax.jit
    def found(outputs):
        return task.gather(outputs, jnp.asarray(np.stack(targets), jnp.float32), loss=Focal(), form=FORM)

    told = {"count": 10, "loss": 0.0}
    right = summarize_detections(told | dict(found(np.stack(outputs))), classes=CLASSES)
    assert right["mean_ap"] == right["mean_recall"] == 1.0
    assert right["per_class_objects"] == np.bincount(test.values["box_label"][test.values["box_valid"]]).tolist()
    off = summarize_detections(told | dict(found(np.stack(shifted))), classes=CLASSES)
    assert 1 > off["ap50"] > 0.5 > off["mean_ap"] > 0


def test_examples_are_put_in_order():
    batches = [
        {"x": np.array([[3], [0]]), "position": np.array([3, 0]), "valid": np.array([True, True])},
        {"x": np.array([[2], [9]]), "position": np.array([2, 1]), "valid": np.array([True, False])},
    ]
    assert in_order(batches)["x"].tolist() == [[0], [2], [3]]
    lanes = [{name: np.stack([array, array]) for name, array in batch.items()} for batch in batches]
    assert in_order(lanes, axis=1)["x"].tolist() == [[[0], [2], [3]]] * 2


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial") / "run"
    cnnjax.train(BASE, folder, options=ONE)
    return folder


def test_results_are_those_of_what_is_told_of_all_images(trial):
    """Ten images in batches of eight: two batches, of which one is half filled."""
    test = FORM.test
    said = cnnjax.load(trial).predict(test.images, batch_size=10)
    found = np.concatenate(
        [16 * said.boxes, said.scores[..., None], np.where(said.valid, said.labels, -1)[..., None]], -1
    )
    values = test.values
    labels = np.where(values["box_valid"], values["box_label"], -1)[..., None]
    true = np.concatenate([labels, values["boxes"], 0 * labels], -1)
    expected = summarize_detections({"count": 10, "loss": 0.0, "found": found, "true": true}, classes=CLASSES)
    told = evaluate(trial, hardware=ONE.hardware)["test"]
    assert told["count"] == 10
    for name in ("mean_ap", "ap50", "mean_recall"):
        assert told[name] == pytest.approx(expected[name], abs=1e-9)
    assert told["mean_recall"] > 0
    result = json.loads((trial / "result.json").read_text())["metrics"]
    assert result["test_mean_ap"] == told["mean_ap"]
    assert "train_loss" in result
    assert "train_mean_ap" not in result


@functools.cache
def gathered(devices, parallel):
    program = Program(BASE, hardware=Hardware(devices=devices, parallel=parallel))
    return program.evaluate(program.init([BASE]), "test")


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["jit", "shard_map", "pmap"])
def test_what_is_gathered_is_that_of_all_devices(parallel):
    found = [gathered(1, "jit"), gathered(2, parallel)]
    assert found[0]["found"].shape == (10, 20, 6)
    np.testing.assert_array_equal(found[1]["true"], found[0]["true"])
    np.testing.assert_allclose(found[1]["found"][..., 4], found[0]["found"][..., 4], rtol=1e-4)


def test_predict_draws_what_is_found(trial, run, tmp_path):
    Image.fromarray(FORM.test.images[0]).save(tmp_path / "shapes.png")
    code, out, err = run("predict", trial, tmp_path / "shapes.png", "--out", tmp_path / "found", "--json")
    assert code == 0, err
    [row] = json.loads(out)["predictions"]
    assert Image.open(row["picture"]).size == (16, 16)
    scores = [each["score"] for each in row["objects"]]
    assert scores == sorted(scores, reverse=True)


def test_an_exported_program_finds_the_same(trial, tmp_path):
    check_boxes_of_program(cnnjax.load(trial), FORM.test.images[:3], tmp_path)


def test_no_number_of_an_image_is_asked_for_its_gradient(trial, tmp_path):
    with pytest.raises(ConfigError, match="--only saliency: .* its outputs are maps"):
        cnnjax.inspect(trial, out=tmp_path, only=["saliency"])


def test_evaluate_tells_the_classes_apart(trial, run):
    code, out, err = run("evaluate", trial)
    assert code == 0, err
    for word in ("mean ap", "ap at 0.5", "circle", "triangle"):
        assert word in out.lower()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "softmax"}, "nearly all places have no object, which the focal loss is made for"),
        ({"data": "digits"}, "its target is 'boxes', and the examples of digits have image, label"),
        ({"task.head.levels": 5}, "head.stride and head.levels: the backbone has no maps of stride 8"),
        ({"test_time": FlipViews()}, "those of several views have no mean"),
        ({"mixing": "cutmix"}, "task 'detection' is of boxes"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, changes))


def test_rare_classes_begin_rare():
    network = BASE.task.network(BASE.model.model_copy(update={"num_classes": 3}))
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    assert {"backbone", "head"} == set(variables["params"])
    # 8 x 8 places at stride 2 and 4 x 4 at stride 4.
    outputs = jax.eval_shape(network.apply, variables, jnp.zeros((1, 16, 16, 3)))
    assert outputs.shape == (1, 80, 13)
    made = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]["head"]
    np.testing.assert_allclose(made["logits"]["bias"], logit(0.01), rtol=1e-6)
    np.testing.assert_array_equal(made["quality"]["bias"], 0)
