"""Masks of objects: the loss by hand, what the branch runs on, what is measured and drawn."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import cnnjax
from cnnjax import (
    Detection,
    Hardware,
    MaskRCNN,
    Options,
    Shapes,
    SmoothL1,
    box_masks,
    metrics,
)
from cnnjax.config import replace
from cnnjax.data import packed_masks
from cnnjax.errors import ConfigError, DataError
from cnnjax.experiment import check
from cnnjax.models.detectors import Costs, Limits
from tests import test_two_stage
from tests.exports import check_boxes_of_program
from tests.test_two_stage import compiled, overlap

ONE = Options(Hardware(devices=1))
DATA = Shapes(size=16, objects=2, radius=(3.0, 6.0), examples=16, test_examples=6, masks=True)
HEAD = MaskRCNN(
    stride=2,
    levels=2,
    features=4,
    sizes=(3.0,),
    proposals=12,
    proposals_drawn=8,
    pooled=2,
    reach=3.0,
    hidden=8,
    mask_pooled=3,
    mask_depth=2,
    mask_features=4,
)
TASK: Any = Detection(head=HEAD, box_loss=SmoothL1(beta=0.1), most=5, overlap=0.5, least=0.0)
BASE = replace(test_two_stage.BASE, {"data": DATA, "task": TASK})
FORM: Any = DATA.load()
CLASSES = len(FORM.classes)
COSTS = Costs(SmoothL1(beta=0.1), 1.0, 1.0)


def targets(count: int) -> dict[str, np.ndarray]:
    values = FORM.test.values
    label = np.where(values["box_valid"], values["box_label"], -1)[..., None]
    objects = np.concatenate([label, values["boxes"], 0 * label], -1).astype(np.float32)
    return {"objects": objects[:count], "masks": values["box_mask"][:count]}


@pytest.mark.parametrize("by_class", [True, False])
def test_the_loss_by_hand(by_class):
    """Beside that of two stages: of the mask of the object's class alone, where a proposal is an object."""
    rng = np.random.default_rng(0)
    masks = np.zeros((3, 16, 16), bool)
    masks[0, 2:9, 1:8] = masks[1, 6:15, 5:14] = True
    objects = np.array([[2, 1, 2, 8, 9, 0], [0, 5, 6, 14, 15, 0], [-1, 0, 0, 0, 0, 0]], np.float32)
    proposals = np.array([[5, 6, 14, 15], [1, 3, 7, 9], [0, 0, 16, 16]], np.float32)
    logits = rng.normal(size=(3, 6, 6, 1 + CLASSES if by_class else 1)).astype(np.float32)
    outputs = {
        "anchors": np.array([[0, 0, 4, 4]], np.float32),
        "objectness": np.zeros(1, np.float32),
        "anchor_codes": np.zeros((1, 4), np.float32),
        "anchor_draw": np.zeros(1, np.float32),
        "proposals": proposals,
        "proposal_valid": np.array([True, True, False]),
        "proposal_draw": np.arange(3, dtype=np.float32),
        "logits": np.zeros((3, 1 + CLASSES), np.float32),
        "codes": np.zeros((3, 1 + CLASSES, 4), np.float32),
        "mask_proposals": proposals,
        "mask_object": np.array([1, 0, 2]),
        "mask_valid": np.array([True, True, False]),
        "mask_logits": logits,
    }
    each = []
    for row, number, label in ((0, 1, 0), (1, 0, 2)):
        true = np.asarray(box_masks.within(jnp.asarray(masks[[number]]), jnp.asarray(proposals[[row]]), size=6))[0]
        assert 0.5 < true.mean() <= 1
        p = expit(logits[row, :, :, 1 + label if by_class else 0])
        each.append(-np.log(np.where(true, p, 1 - p)).mean())
    target = {"objects": jnp.asarray(objects), "masks": jnp.asarray(packed_masks.packed(masks))}
    heads = [replace(HEAD, {"mask_weight": weight, "mask_by_class": by_class}) for weight in (0.0, 2.0)]

    @jax.jit
    def losses(outputs):
        return [head.loss_of_one(outputs, target, loss=BASE.loss, costs=COSTS) for head in heads]

    without, found = losses(outputs)
    np.testing.assert_allclose(found - without, 2 * np.mean(each), rtol=1e-5)
    nothing = outputs | {"mask_valid": np.zeros(3, bool)}
    np.testing.assert_array_equal(*losses(nothing))


def made_variables(images):
    module = TASK.network(BASE.model.model_copy(update={"num_classes": CLASSES}))
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    return module, jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)


def test_the_branch_runs_on_drawn_objects_in_training_and_on_what_is_found():
    """And its gradient is finite and reaches all of the branch."""
    images, target = jnp.asarray(FORM.test.images[:2], jnp.float32) / 255, targets(2)
    module, variables = made_variables(images)

    def step(params, key):
        def loss(params):
            outputs: Any = module.apply({"params": params}, images, train=True, target=target, rngs={"draw": key})
            return TASK.losses(outputs, target, loss=BASE.loss, form=FORM).sum(), outputs

        return jax.grad(loss, has_aux=True)(params)

    run = compiled(step, variables["params"], jax.random.key(0))
    gradients, outputs = run(variables["params"], jax.random.key(1))
    # A quarter of eight are objects at most.
    assert outputs["mask_logits"].shape == (2, 2, 6, 6, 1 + CLASSES)
    assert "found_masks" not in outputs
    assert np.asarray(outputs["mask_valid"]).any()
    for image, row in np.argwhere(np.asarray(outputs["mask_valid"])):
        box, number = np.asarray(outputs["mask_proposals"])[image, row], int(outputs["mask_object"][image, row])
        true = target["objects"][image, :, 1:5]
        best = [overlap(box, each) for each in true[target["objects"][image, :, 0] >= 0]]
        assert np.argmax(best) == number
        assert max(best) >= 0.5
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(gradient).all(), name
        assert np.any(gradient) or "mask_" not in name, name

    def evaluated(params, target):
        return module.apply({"params": params}, images, train=False, **({"target": target} if target else {}))

    shown, alone = (
        compiled(evaluated, variables["params"], given)(variables["params"], given) for given in (target, {})
    )
    assert set(shown) - set(alone) == {"mask_proposals", "mask_object", "mask_valid", "mask_logits"}
    for name, array in alone.items():
        np.testing.assert_allclose(shown[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    assert alone["found_masks"].shape == (2, 5, 6, 6, 1 + CLASSES)
    first = jax.vmap(lambda own: HEAD.found_first(own, (16, 16), TASK.limits))(alone)
    again = jax.vmap(lambda own: HEAD.found(own, (16, 16), Limits()))(alone)
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_limits_reach_the_network():
    for changes, count in (({"most": 3}, 3), ({"most": 7}, 7)):
        task: Any = replace(TASK, changes)
        module = task.network(BASE.model.model_copy(update={"num_classes": CLASSES}))
        found = jax.eval_shape(
            lambda key, module=module: module.init_with_output(key, jnp.zeros((1, 16, 16, 3))), jax.random.key(0)
        )
        assert found[0]["found_boxes"].shape == (1, count, 4)
    limits = replace(TASK, {"most": 2, "candidates": 4, "overlap": 0.3, "least": 0.2}).limits
    assert limits == Limits(most=2, candidates=4, overlap=0.3, least=0.2)


def test_what_is_said_rightly_is_found():
    """The true boxes, and of their parts what the true masks have there: masks equal to nearly all pixels."""
    head = replace(HEAD, {"mask_pooled": 14})
    values, target = FORM.test.values, targets(6)
    labels, valid = values["box_label"], values["box_valid"]
    boxes = np.where(valid[..., None], values["boxes"], 0).astype(np.float32)
    logits = np.full((6, 2, 28, 28, 1 + CLASSES), -9.0, np.float32)
    for image, row in np.argwhere(valid):
        mask = packed_masks.unpacked(values["box_mask"], 2)[image, [row]]
        own = box_masks.within(jnp.asarray(mask), jnp.asarray(boxes[image, [row]]), size=28)[0]
        logits[image, row, :, :, 1 + labels[image, row]] = np.where(own, 9, -9)
    outputs = {
        "found_boxes": boxes,
        "found_scores": valid.astype(np.float32),
        "found_labels": labels.astype(np.int32),
        "found_valid": valid,
        "found_masks": logits,
    }
    task: Any = replace(TASK, {"head": head})
    gathered = jax.jit(lambda outputs: task.gather(outputs, target, loss=BASE.loss, form=FORM))(outputs)
    np.testing.assert_array_equal(
        gathered["true_areas"], packed_masks.unpacked(values["box_mask"], 2).sum((2, 3)).astype(np.float32)
    )
    told = metrics.summarize_detections({"count": 6, "loss": 0.0} | dict(gathered), classes=CLASSES)
    assert told["mask_ap75"] == told["mean_ap"] == 1.0
    assert told["mask_ap"] > 0.9
    other = jax.jit(lambda outputs: task.gather(outputs, target, loss=BASE.loss, form=FORM))(
        outputs | {"found_masks": -logits}
    )
    assert metrics.summarize_detections({"count": 6, "loss": 0.0} | dict(other), classes=CLASSES)["mask_ap50"] == 0.0


def test_masks_are_drawn_where_they_are():
    parts = np.zeros((1, 2, 2, 2), np.float32)
    parts[0, 0] = [[1, 1], [0, 0]]
    # Towards the outside parts fade: at a corner 0.75 * 0.625 is less than a half.
    found = cnnjax.tasks.Boxes(
        boxes=np.array([[[0, 0, 0.5, 1], [0, 0, 0, 0]]], np.float32),
        scores=np.array([[0.9, 0]]),
        labels=np.array([[1, 0]]),
        valid=np.array([[True, False]]),
        classes=("a", "b"),
        parts=parts,
    )
    masks = found.masks(8, 8)
    assert masks.shape == (1, 2, 8, 8)
    expected = np.zeros((8, 8), bool)
    expected[:4, :4] = True
    expected[[0, 0, 3, 3], [0, 3, 0, 3]] = False
    np.testing.assert_array_equal(masks[0, 0], expected)
    drawn = found.overlay(np.zeros((1, 8, 8, 3), np.uint8), names=False)[0]
    assert drawn[2, 2].any()
    assert not drawn[2, 6].any()
    assert not drawn[6, 2].any()
    with pytest.raises(DataError, match="the network of these boxes says none"):
        cnnjax.tasks.Boxes(
            boxes=found.boxes, scores=found.scores, labels=found.labels, valid=found.valid, classes=found.classes
        ).masks(8, 8)


@pytest.mark.slow
def test_a_run_tells_and_draws_what_it_finds(run, tmp_path):
    trial = tmp_path / "run"
    cnnjax.train(BASE, trial, options=ONE)
    result = json.loads((trial / "result.json").read_text())["metrics"]
    assert np.isfinite([result["train_loss"], result["test_loss"], result["test_mask_ap"]]).all()
    assert json.loads((trial / "resolved.json").read_text())["chosen_by"] == "mask_ap"
    Image.fromarray(FORM.test.images[0]).save(tmp_path / "shapes.png")
    code, out, err = run("predict", trial, tmp_path / "shapes.png", "--out", tmp_path / "found", "--json")
    assert code == 0, err
    [row] = json.loads(out)["predictions"]
    assert Image.open(row["picture"]).size == (16, 16)
    code, out, err = run("evaluate", trial, "--keep-predictions")
    assert code == 0, err
    assert "mask AP" in out
    with np.load(trial / "predictions.npz") as held:
        assert held["test/target_masks"].shape == (6, 16, 16, 1)
    said: Any = cnnjax.load(trial).predict(FORM.test.images[:2])
    assert said.parts.shape == (2, 5, 6, 6)
    check_boxes_of_program(cnnjax.load(trial), FORM.test.images[:3], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.masks": False}, "task.head = 'mask_rcnn': it learns the masks of objects, and the examples of shapes"),
        ({"loss": "focal"}, "task.head = 'mask_rcnn': loss = 'focal'"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, changes))
