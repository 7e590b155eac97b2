"""Objects as the peaks of heat maps: the target and the loss by loops, peaks, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from cnnjax import CenterNet, Detection, Experiment, Focal, Shapes, SmallCNN, SmoothL1, metrics
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.models.detectors import places_of

SIZE, STRIDE = 24, 4
HEAD = CenterNet(stride=STRIDE, features=8, depth=1)
TASK: Any = Detection(head=HEAD, box_loss=SmoothL1(beta=1e-6), box_weight=2.0, most=9, overlap=1.0, least=0.0)
BASE = Experiment(
    model=SmallCNN(features=2),
    data=Shapes(size=SIZE, objects=2, radius=(3.0, 6.0), examples=16, test_examples=6),
    task=TASK,
    loss=Focal(alpha=None),
    steps=2,
    batch_size=8,
    validation=0,
)
FORM: Any = BASE.data.load()
CLASSES = len(FORM.classes)
PLACES = SIZE // STRIDE
# Class, box, crowd. The last but one is a crowd; the first two have their middles in one place.
OBJECTS = np.array(
    [[1, 2, 3, 13, 12, 0], [1, 5, 5, 9, 9.5, 0], [3, 10, 8, 23, 24, 0], [2, 0, 0, 20, 20, 1], [-1, 0, 0, 0, 0, 0]],
    np.float32,
)


def outputs_of(rng) -> np.ndarray:
    reference = np.asarray(places_of(PLACES, PLACES, STRIDE, HEAD.references(STRIDE)))
    said = rng.normal(size=(len(reference), 5 + CLASSES))
    return np.concatenate([reference, np.full((len(reference), 1), STRIDE), said], 1).astype(np.float32)


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def test_corners_may_move_until_the_overlap_is_the_least():
    for sides in ((10.0, 4.0), (3.0, 3.0), (2.0, 30.0)):
        reach = float(HEAD.reach_of(jnp.array(sides)))
        box = np.array([0, 0, *sides])
        moved = [[reach] * 4, [reach, reach, -reach, -reach], [-reach, -reach, reach, reach]]
        assert min(overlap(box, box + own) for own in moved) == pytest.approx(0.7, abs=1e-5)


def heat_by_loops() -> np.ndarray:
    heat = np.zeros((PLACES, PLACES, CLASSES))
    for label, left, top, right, bottom, _ in OBJECTS[:3]:
        column, row = int((left + right) / 2 // STRIDE), int((top + bottom) / 2 // STRIDE)
        sides = np.array([right - left, bottom - top]) / STRIDE
        deviation = (2 * float(HEAD.reach_of(jnp.asarray(sides))) + 1) / 6
        for y, x in np.ndindex(PLACES, PLACES):
            value = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * deviation**2))
            heat[y, x, int(label)] = max(heat[y, x, int(label)], value)
    return heat


def test_the_loss_by_loops():
    outputs = outputs_of(np.random.default_rng(0))
    heat = heat_by_loops()
    assert (heat == 1).sum() == 2
    p = expit(outputs[:, 10:].astype(np.float64)).reshape(heat.shape)
    total = 0.0
    for at in np.ndindex(heat.shape):
        y, q = heat[at], p[at]
        total -= (1 - q) ** 2 * np.log(q) if y == 1 else (1 - y) ** 4 * q**2 * np.log(1 - q)
    # Of the two at one place the smaller box is said.
    for _, left, top, right, bottom, _ in OBJECTS[1:3]:
        x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
        own = outputs[int(y) * PLACES + int(x), 5:9]
        off = abs(own[0] - x % 1) + abs(own[1] - y % 1)
        off += abs(own[2] - 0.1 * (right - left) / STRIDE) + abs(own[3] - 0.1 * (bottom - top) / STRIDE)
        total += 2.0 * off
    nothing = np.full_like(OBJECTS, -1)
    found = jax.jit(lambda *given: TASK.losses(*given, loss=BASE.loss, form=FORM))(
        np.stack([outputs, outputs]), np.stack([OBJECTS, nothing])
    )
    np.testing.assert_allclose(found[0], total / 3, rtol=1e-4)
    np.testing.assert_allclose(found[1], -np.sum(p**2 * np.log(1 - p)), rtol=1e-4)


def test_what_is_said_at_peaks_is_found():
    """The true boxes where their middles are, with likelier neighbours nowhere; twice as many places are as likely."""
    values = FORM.test.values
    outputs = np.stack([outputs_of(np.random.default_rng(1))] * 6)
    outputs[..., 10:] = -9
    for image, row in np.argwhere(values["box_valid"]):
        box, label = values["boxes"][image, row], values["box_label"][image, row]
        x, y = (box[:2] + box[2:]) / 2
        place = int(y // STRIDE) * PLACES + int(x // STRIDE)
        outputs[image, place, 5:9] = np.asarray(HEAD.codes(jnp.asarray(box), jnp.asarray(outputs[image, place, :4])))
        beside = place + (1 if x < SIZE - STRIDE else -1)
        outputs[image, beside, 10 + label] = np.maximum(outputs[image, beside, 10 + label], 2)
        outputs[image, place, 10 + label] = 5
    label = np.where(values["box_valid"], values["box_label"], -1)[..., None]
    target = np.concatenate([label, values["boxes"], 0 * label], -1)
    task = replace(TASK, {"least": 0.5})
    gathered = jax.jit(lambda outputs: task.gather(outputs, jnp.asarray(target), loss=BASE.loss, form=FORM))(outputs)
    told = metrics.summarize_detections({"count": 6, "loss": 0.0} | dict(gathered), classes=CLASSES)
    assert told["mean_recall"] == 1.0
    assert told["mean_ap"] == 1.0


def test_peaks_by_loops():
    outputs = outputs_of(np.random.default_rng(2))
    _, scores = jax.jit(lambda outputs: HEAD.said(outputs, (SIZE, SIZE)))(outputs)
    p = expit(outputs[:, 10:]).reshape(PLACES, PLACES, CLASSES)
    padded = np.pad(p, ((1, 1), (1, 1), (0, 0)))
    for y, x, label in np.ndindex(p.shape):
        is_peak = p[y, x, label] == padded[y : y + 3, x : x + 3, label].max()
        assert float(scores[y * PLACES + x, label]) == pytest.approx(p[y, x, label] if is_peak else 0, rel=1e-5)


def test_it_is_trained():
    """Every layer has a gradient; there is none of a quality that is not said."""
    checked = check(BASE)
    assert "quality" not in checked.state.params["head"]
    module = TASK.network(BASE.model.model_copy(update={"num_classes": CLASSES}))
    images = jnp.asarray(FORM.test.images[:1], jnp.float32) / 255
    target = np.array([[[1, 2, 3, 13, 12, 0]]], np.float32)

    def loss(params):
        return TASK.losses(module.apply({"params": params}, images), target, loss=BASE.loss, form=FORM).sum()

    gradients = jax.jit(lambda key: jax.grad(loss)(module.init(key, images)["params"]))(jax.random.key(0))
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), jax.tree_util.keystr(path)
        assert np.any(gradient), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": Focal()}, "task.head = 'center_net': loss.alpha = 0.25; places are weighted by"),
        ({"task.head.levels": 2}, "levels"),
        ({"loss": "softmax"}, "take loss=focal"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, changes))
