"""Arithmetic of boxes: cases by hand, and suppression against the loop that defines it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import boxes as b

RNG = np.random.default_rng(0)


def some(count: int, *, whole: bool = False, rng=RNG) -> np.ndarray:
    low = rng.uniform(0, 60, (count, 2))
    made = np.concatenate([low, low + rng.uniform(2, 30, (count, 2))], 1)
    return (np.floor(made) if whole else made).astype(np.float32)


def by_loop(boxes, scores, labels, threshold, least):
    """Greedy suppression as it is defined, in NumPy: the numbers of those that stay, strongest first."""
    left = [i for i in np.argsort(-scores, kind="stable") if scores[i] > least]
    stay = []
    while left:
        first, *left = left
        stay.append(int(first))
        left = [i for i in left if labels[i] != labels[first] or overlap(boxes[first], boxes[i]) <= threshold]
    return stay


def overlap(one, other):
    width, height = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), np.float32(0))
    sides = [box[2:] - box[:2] for box in (one, other)]
    shared = width * height
    return shared / (sides[0][0] * sides[0][1] + sides[1][0] * sides[1][1] - shared)


def test_two_boxes_by_hand():
    one, other = jnp.array([0.0, 0, 4, 2]), jnp.array([2.0, 1, 6, 5])
    assert b.area(one) == 8
    # They share 2 x 1 of 8 + 16 - 2 = 22, within 6 x 5 = 30.
    np.testing.assert_allclose(b.iou(one, other), 2 / 22, rtol=1e-6)
    np.testing.assert_allclose(b.giou(one, other), 2 / 22 - 8 / 30, rtol=1e-6)
    np.testing.assert_array_equal(b.to_centre(other), [4, 3, 4, 4])
    np.testing.assert_array_equal(b.to_corners(b.to_centre(other)), other)
    np.testing.assert_array_equal(b.clipped(jnp.array([-1.0, 2, 9, 9]), (5, 6)), [0, 2, 6, 5])
    # The reference's centre is 2, 1, its sides 4 and 2.
    np.testing.assert_allclose(b.centre_codes(other, one), [0.5, 1, 0, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(b.side_codes(other, one), [0, 0, 1, 2], rtol=1e-6)


def test_boxes_apart_and_empty_ones():
    far = jnp.array([10.0, 0, 12, 2])
    assert b.iou(jnp.array([0.0, 0, 2, 2]), far) == 0
    np.testing.assert_allclose(b.giou(jnp.array([0.0, 0, 2, 2]), far), -(24 - 8) / 24, rtol=1e-6)
    nothing = jnp.zeros(4)
    assert b.iou(nothing, nothing) == b.giou(nothing, nothing) == 0
    gradient = jax.grad(lambda box: b.giou(box, nothing))(nothing)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("code", "back"), [(b.centre_codes, b.of_centre_codes), (b.side_codes, b.of_side_codes)])
def test_codes_say_their_boxes(code, back):
    boxes, references = some(20), some(20)
    np.testing.assert_allclose(back(code(boxes, references), references), boxes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_suppression_is_that_of_the_loop(threshold):
    rng = np.random.default_rng(int(100 * threshold))
    find = jax.jit(
        jax.vmap(
            lambda boxes, scores: b.strongest(boxes, scores, most=30, candidates=120, threshold=threshold, least=0.2)
        )
    )
    images = [some(40, whole=True, rng=rng) for _ in range(4)]
    # Scores of one decimal: many are equal. The last image has nothing.
    scores = np.round(rng.uniform(0, 1, (4, 40, 3)), 1).astype(np.float32)
    scores[3] = 0.1
    found = find(np.stack(images), scores)
    for image in range(4):
        flat, labels = scores[image].reshape(-1), np.tile(np.arange(3), 40)
        stay = by_loop(images[image].repeat(3, 0), flat, labels, threshold, 0.2)[:30]
        count = int(found.valid[image].sum())
        assert count == len(stay)
        np.testing.assert_array_equal(found.boxes[image][:count], images[image].repeat(3, 0)[stay])
        np.testing.assert_array_equal(found.scores[image][:count], flat[stay])
        np.testing.assert_array_equal(found.labels[image][:count], labels[stay])
        assert not found.boxes[image][count:].any()
    assert found.valid[0].sum() > 3
    assert not found.valid[3].any()


def test_a_chain_of_boxes_is_undone_one_by_one():
    """Each overlaps the next alone: every other one stays, which takes as many rounds as there are boxes."""
    low = np.arange(24, dtype=np.float32) * 4
    chain = np.stack([low, 0 * low, low + 6, 0 * low + 6], 1)
    stays = b.suppressed(jnp.asarray(chain), jnp.zeros(24, int), jnp.ones(24, bool), threshold=0.15)
    assert stays.tolist() == [True, False] * 12
    other = b.suppressed(jnp.asarray(chain), jnp.arange(24), jnp.ones(24, bool), threshold=0.15)
    assert other.all()
    absent = b.suppressed(jnp.asarray(chain), jnp.zeros(24, int), jnp.arange(24) > 0, threshold=0.15)
    assert absent.tolist() == [False, *[True, False] * 11, True]


def test_fewer_places_than_are_asked_for():
    found = b.strongest(
        jnp.asarray(some(2)), jnp.array([[0.5], [0.9]]), most=5, candidates=9, threshold=0.99, least=0.0
    )
    assert found.valid.tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0, 0, 0])
    assert found.labels.dtype == jnp.int32
