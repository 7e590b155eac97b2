"""Detection in two stages: anchors, draws, proposals and the loss by hand; and its way through a training."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, log_softmax

import cnnjax
from cnnjax import (
    AnchorFree,
    Detection,
    Experiment,
    FasterRCNN,
    Focal,
    Hardware,
    Options,
    Shapes,
    SmallCNN,
    SmoothL1,
    SoftmaxCrossEntropy,
    models,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.models.detectors.anchors import anchors_of, drawn, matched
from cnnjax.models.detectors.two_stage import SCALE
from cnnjax.run.weights import Initial
from tests.exports import check_boxes_of_program

ONE = Options(Hardware(devices=1))
DATA = Shapes(size=16, objects=2, radius=(3.0, 6.0), examples=16, test_examples=6)
HEAD = FasterRCNN(
    stride=2, levels=2, features=4, sizes=(3.0,), proposals=12, proposals_drawn=8, pooled=2, reach=3.0, hidden=8
)
TASK: Any = Detection(head=HEAD, box_loss=SmoothL1(beta=0.1), most=9, overlap=0.5, least=0.0)
BASE = Experiment(
    model=SmallCNN(features=2),
    data=DATA,
    task=TASK,
    loss=SoftmaxCrossEntropy(),
    steps=2,
    batch_size=8,
    validation=0,
)
FORM: Any = DATA.load()
CLASSES = len(FORM.classes)


def test_anchors_by_hand():
    """Of area 8^2 and heights a quarter of and four times the widths, about 0, 0 and 4, 0 in a map of a row of two."""
    ours = jax.jit(lambda: anchors_of(1, 2, 4, sizes=(8.0,), ratios=(0.25, 4.0)))()
    np.testing.assert_array_equal(ours, [[-8, -2, 8, 2], [-2, -8, 2, 8], [-4, -2, 12, 2], [2, -8, 6, 8]])


def test_matching_by_hand():
    """IoU 1, 0.6, 0.2 and 0 with the first object; the second is overlapped by little, most by the last."""
    reference = np.array([[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 2], [20, 0, 30, 10]], np.float32)
    boxes = np.array([[0, 0, 10, 10], [28, 0, 48, 10], [0, 0, 10, 10]], np.float32)
    there = np.array([True, True, False])
    for best_too, expected in ((False, [True, False, False, False]), (True, [True, False, False, True])):
        match = jax.jit(partial(matched, least=0.7, most=0.3, best_too=best_too))
        object_of, is_object, is_none = match(reference, boxes, there)
        assert is_object.tolist() == expected
        assert is_none.tolist() == [False, False, True, not best_too]
        assert object_of.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("wanted", "others", "expected"),
    [
        # Of six, three wanted ones at most, and the rest of the others.
        (range(5), range(5, 20), (3, 3)),
        (range(2), range(5, 20), (2, 4)),
        (range(5), range(5, 7), (3, 2)),
        ((), range(20), (0, 6)),
    ],
)
def test_draws_are_of_fixed_numbers(wanted, others, expected):
    wanted, others = (np.isin(np.arange(20), list(rows)) for rows in (wanted, others))
    draw = np.random.default_rng(0).permutation(20).astype(np.float32)
    found = np.asarray(jax.jit(partial(drawn, count=6, share=0.5))(wanted, others, draw))
    assert ((found & wanted).sum(), (found & others).sum()) == expected
    assert not (found & ~(wanted | others)).any()
    for among in (wanted, others):
        assert draw[found & among].max(initial=-1) < draw[~found & among].min(initial=99)


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def of_codes(codes, box):
    middle, sides = (box[:2] + box[2:]) / 2 + codes[:2] * (box[2:] - box[:2]), np.exp(codes[2:]) * (box[2:] - box[:2])
    return np.concatenate([middle - sides / 2, middle + sides / 2])


def test_proposals_by_loops():
    """The strongest of each map, clipped, without those of the same map that a stronger one overlaps."""
    head = replace(HEAD, {"candidates": 30, "proposal_overlap": 0.3, "proposals": 15})
    rng = np.random.default_rng(1)
    anchors = [np.asarray(anchors_of(n, n, 16 // n, sizes=(48 / n,), ratios=head.ratios)) for n in (8, 4)]
    said = [
        (rng.normal(size=len(a)).astype(np.float32), rng.normal(0, 0.3, a.shape).astype(np.float32)) for a in anchors
    ]
    said[1][1][:5, 0] = 40  # these lie outside, and nothing is left of them
    said[1][0][:5] = 9
    candidates = []
    for level, (own, (objectness, codes)) in enumerate(zip(anchors, said, strict=True)):
        for row in np.argsort(-objectness)[:30]:
            candidates.append((objectness[row], level, np.clip(of_codes(codes[row], own[row]), 0, 16)))
    kept = []
    for _, level, box in sorted(candidates, key=lambda each: -each[0]):
        if (box[2:] > box[:2]).all() and all(of != level or overlap(box, other) <= 0.3 for of, other in kept):
            kept.append((level, box))
    assert {level for level, _ in kept[:15]} == {0, 1}
    found, there = jax.jit(partial(head.proposed, size=(16, 16)))(anchors, said)
    assert there.all()
    np.testing.assert_allclose(found, [box for _, box in kept[:15]], atol=1e-4)
    more = replace(head, {"proposals": 99})
    found, there = jax.jit(partial(more.proposed, size=(16, 16)))(anchors, said)
    assert there.sum() == len(kept) < 60
    np.testing.assert_array_equal(np.asarray(found)[~there], [[0, 0, 16, 16]] * (99 - len(kept)))


def smooth(off, beta=0.5):
    off = np.abs(off)
    return np.where(off < beta, 0.5 * off**2 / beta, off - beta / 2).sum()


def codes_of(box, reference):
    middle, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    own = reference[2:] - reference[:2]
    return np.concatenate([(middle - (reference[:2] + reference[2:]) / 2) / own, np.log(sides / own)])


def test_the_loss_by_hand():
    """Every anchor and proposal is drawn, but those that overlap an object by something between."""
    rng = np.random.default_rng(2)
    anchors = np.asarray(anchors_of(4, 4, 4, sizes=(6.0,), ratios=(1.0,)))
    boxes = np.array([[1, 1, 7, 7], [6, 5, 13, 14], [9, 0, 16, 3], [0, 0, 0, 0]], np.float32)
    # The third is a crowd, which nothing is to find.
    target = np.concatenate([[[2], [1], [3], [-1]], boxes, [[0], [0], [1], [0]]], 1).astype(np.float32)
    proposals = np.array([[1, 1, 7, 7], [0, 0, 7, 6], [6, 6, 14, 14], [0, 8, 5, 16], [9, 0, 16, 3]], np.float32)
    valid = np.array([True, True, True, True, True])
    outputs = {
        "anchors": anchors,
        "objectness": rng.normal(size=16).astype(np.float32),
        "anchor_codes": rng.normal(size=(16, 4)).astype(np.float32),
        "anchor_draw": rng.random(16).astype(np.float32),
        "proposals": proposals,
        "proposal_valid": valid,
        "proposal_draw": rng.random(5).astype(np.float32),
        "logits": rng.normal(size=(5, 5)).astype(np.float32),
        "codes": rng.normal(size=(5, 5, 4)).astype(np.float32),
    }
    objectness, of_boxes, counted = [], [], 0
    best = [max(overlap(anchor, box) for anchor in anchors) for box in boxes[:2]]
    for anchor, logit, codes in zip(anchors, outputs["objectness"], outputs["anchor_codes"], strict=True):
        overlaps = [overlap(anchor, box) for box in boxes[:2]]
        is_object = max(overlaps) >= 0.7 or any(a == b for a, b in zip(overlaps, best, strict=True))
        if is_object or max(overlaps) < 0.3:
            counted += 1
            objectness.append(-np.log(expit(logit if is_object else -logit)))
            of_boxes += [smooth(codes - codes_of(boxes[np.argmax(overlaps)], anchor))] * bool(is_object)
    assert 1 <= len(of_boxes) < counted < 16
    classes, second = [], []
    for row, proposal in enumerate(proposals):
        overlaps = [overlap(proposal, box) for box in boxes[:2]]
        is_object, number = max(overlaps) >= 0.5, np.argmax(overlaps)
        label = int(target[number, 0]) + 1 if is_object else 0
        classes.append(-log_softmax(outputs["logits"][row])[label])
        true = codes_of(boxes[number], proposal) * SCALE
        second += [smooth(outputs["codes"][row, label] - true)] * bool(is_object)
    assert len(second) == 3
    head = replace(HEAD, {"anchors_drawn": 64, "proposals_drawn": 64})
    task = Detection(head=head, box_loss=SmoothL1(beta=0.5), box_weight=3.0, quality_weight=0.5)

    @jax.jit
    def losses(outputs):
        targets = jnp.stack([target, jnp.full(target.shape, -1.0)])
        return task.losses(outputs, targets, loss=SoftmaxCrossEntropy(), form=FORM)

    found = losses({name: np.stack([array, array]) for name, array in outputs.items()})
    by_hand = (
        np.mean(classes) + 3 * (np.sum(of_boxes) / counted + np.sum(second) / 5) + 0.5 * np.sum(objectness) / counted
    )
    np.testing.assert_allclose(found[0], by_hand, rtol=1e-5)
    nothing = [-log_softmax(row)[0] for row in outputs["logits"]]
    none = -np.log(expit(-outputs["objectness"]))
    np.testing.assert_allclose(found[1], np.mean(nothing) + 0.5 * np.mean(none), rtol=1e-5)


QUICK: Any = {"xla_backend_optimization_level": 0}


def compiled(function, *arguments):
    """Compiled once and run a few times: optimizing takes longer than it saves."""
    return jax.jit(function).lower(*arguments).compile(compiler_options=QUICK)


def test_a_training_step_is_shown_the_true_boxes_and_draws_by_its_key():
    """And its gradient is finite and reaches every parameter."""
    module = TASK.network(BASE.model.model_copy(update={"num_classes": CLASSES}))
    images = jnp.asarray(FORM.test.images[:2], jnp.float32) / 255
    values = FORM.test.values
    label = np.where(values["box_valid"], values["box_label"], -1)[..., None]
    target = np.concatenate([label, values["boxes"], 0 * label], -1)[:2].astype(np.float32)
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)

    def step(params, key):
        def loss(params):
            outputs: Any = module.apply({"params": params}, images, train=True, target=target, rngs={"draw": key})
            return TASK.losses(outputs, target, loss=BASE.loss, form=FORM).sum(), outputs

        return jax.grad(loss, has_aux=True)(params)

    run = compiled(step, variables["params"], jax.random.key(0))
    (gradients, outputs), (_, again), (_, other) = (run(variables["params"], jax.random.key(n)) for n in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, outputs, again)
    assert not np.array_equal(outputs["anchor_draw"], other["anchor_draw"])
    assert outputs["logits"].shape == (2, 8, 1 + CLASSES)
    for image in range(2):
        own = np.asarray(outputs["proposals"][image])[np.asarray(outputs["proposal_valid"][image])]
        true = target[image, target[image, :, 0] >= 0, 1:5]
        # A quarter of eight are objects at most: one or two that are there are among them.
        best = [max(overlap(box, each) for each in true) for box in own]
        assert 1 <= sum(np.array(best) >= 0.5) <= 2
    evaluated = jax.eval_shape(module.apply, variables, images)
    assert evaluated["logits"].shape == (2, 12, 1 + CLASSES)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(gradient).all(), name
        assert np.any(gradient), name


@pytest.mark.parametrize("head", ["two_stage", "one_stage"])
@pytest.mark.parametrize("others", ["more", "renamed"])
def test_fine_tuning_draws_the_layers_anew_that_are_of_classes(head, others):
    """In two stages the boxes too, which are one for each class; in one stage these are of no class, and are kept."""
    task = TASK if head == "two_stage" else Detection(head=AnchorFree(stride=4, levels=1, features=8, depth=1))
    images = jnp.zeros((1, 16, 16, 3))

    def variables(classes, value):
        module = task.network(BASE.model.model_copy(update={"num_classes": classes}))
        shapes = jax.eval_shape(module.init, jax.random.key(0), images)
        return jax.tree.map(lambda leaf: np.full(leaf.shape, value, np.float32), shapes)

    names = tuple("abcde"[: CLASSES + (others == "more")])
    initial = Initial("before", variables(CLASSES, 1.0), 0, FORM.classes)
    own = variables(len(names), 2.0)
    merged = initial.merged(own, names)
    assert jax.tree.map(np.shape, merged) == jax.tree.map(np.shape, own)
    anew = {
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(merged)
        if (np.asarray(leaf) == 2.0).any()
    }
    layers = ("logits", "box") if head == "two_stage" else ("logits",)
    assert anew == {f"['params']['head']['{layer}']['{of}']" for layer in layers for of in ("kernel", "bias")}


def test_what_is_said_rightly_is_found():
    """Proposals near the true boxes, with the codes that lead to these for their class alone."""
    values = FORM.test.values
    boxes, labels, valid = (np.asarray(values[name]) for name in ("boxes", "box_label", "box_valid"))
    proposals = np.where(valid[..., None], boxes + np.array([1, -1, 2, 1]), [0, 0, 16, 16]).astype(np.float32)
    logits, codes = np.zeros((6, 2, 1 + CLASSES)), np.full((6, 2, 1 + CLASSES, 4), 9.0)
    for image, row in np.ndindex(6, 2):
        label = labels[image, row] + 1 if valid[image, row] else 0
        logits[image, row, label] = 9
        if label:
            codes[image, row, label] = codes_of(boxes[image, row], proposals[image, row]) * SCALE
    outputs = {
        "proposals": proposals,
        "proposal_valid": valid,
        "logits": logits.astype(np.float32),
        "codes": codes.astype(np.float32),
    }
    target = np.concatenate([np.where(valid, labels, -1)[..., None], boxes, 0 * boxes[..., :1]], -1)
    task = replace(TASK, {"least": 0.5})
    found = jax.jit(lambda outputs: task.gather(outputs, jnp.asarray(target), loss=BASE.loss, form=FORM))(outputs)
    told = cnnjax.metrics.summarize_detections({"count": 6, "loss": 0.0} | dict(found), classes=CLASSES)
    assert told["mean_ap"] == told["mean_recall"] == 1.0


@pytest.mark.slow
def test_a_run_tells_and_draws_what_it_finds(run, tmp_path):
    trial = tmp_path / "run"
    cnnjax.train(BASE, trial, options=ONE)
    result = json.loads((trial / "result.json").read_text())["metrics"]
    assert np.isfinite([result["train_loss"], result["test_loss"]]).all()
    Image.fromarray(FORM.test.images[0]).save(tmp_path / "shapes.png")
    code, out, err = run("predict", trial, tmp_path / "shapes.png", "--out", tmp_path / "found", "--json")
    assert code == 0, err
    [row] = json.loads(out)["predictions"]
    assert Image.open(row["picture"]).size == (16, 16)
    assert 1 <= len(row["objects"]) <= 9
    check_boxes_of_program(cnnjax.load(trial), FORM.test.images[:3], tmp_path)


@pytest.mark.slow
def test_a_step_is_the_same_on_two_devices(tmp_path):
    """Under jit what is drawn does not depend on their number; the last bits of sums may."""
    told = []
    for devices in (1, 2):
        folder = tmp_path / f"{devices}"
        cnnjax.train(BASE, folder, options=Options(Hardware(devices=devices)))
        told.append(json.loads((folder / "result.json").read_text())["metrics"])
    for name in ("train_loss", "test_loss"):
        assert told[0][name] == pytest.approx(told[1][name], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": Focal()}, "task.head = 'faster_rcnn': loss = 'focal'; a proposal is of one class or background"),
        ({"loss": SoftmaxCrossEntropy(class_weights=(1.0, 1.0, 1.0, 2.0))}, "is softmax, without class_weights"),
        ({"task.head.levels": 5}, "head.stride and head.levels: the backbone has no maps of stride 8"),
        ({"task.head.none_below": 0.8}, "none_below = 0.8: must not exceed object_from = 0.7"),
        ({"model": models.config("fasterrcnn_resnet50_fpn")}, "give its `backbone` as the model, and its `detector`"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, changes))
