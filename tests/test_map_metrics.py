"""Metrics of masks against scikit-learn and a loop."""

from __future__ import annotations

import json
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from cnnjax.errors import DataError, ShapeError
from cnnjax.metrics.segmentation import WORD, map_specifications, measure_maps, summarize_maps

B, H, W, K, IGNORE = 8, 6, 5, 4, 255
RNG = np.random.default_rng(0)
MASK = np.where(RNG.random((B, H, W)) < 0.2, IGNORE, RNG.integers(0, K, (B, H, W))).astype(np.uint8)
LOGITS = (np.eye(K + 1)[np.minimum(MASK, K)][..., :K] + RNG.normal(size=(B, H, W, K))).astype(np.float32)
LOSSES = RNG.random(B).astype(np.float32)
EVERY = np.ones(B, bool)
compiled = jax.jit(measure_maps, static_argnames=("classes", "ignore", "detail"))


def sums(logits=LOGITS, mask=MASK, valid=EVERY, losses=LOSSES, classes=K, ignore=IGNORE, **rest):
    logits, mask, valid, losses = map(jnp.asarray, (logits, mask, valid, losses))
    return compiled(logits, mask=mask, valid=valid, losses=losses, classes=classes, ignore=ignore, **rest)


TRUE, PREDICTED = MASK[MASK != IGNORE], LOGITS.argmax(axis=-1)[MASK != IGNORE]
METRICS = {
    "loss": LOSSES.mean(),
    "pixel_accuracy": accuracy_score(TRUE, PREDICTED),
    "mean_iou": jaccard_score(TRUE, PREDICTED, average="macro"),
    "dice": f1_score(TRUE, PREDICTED, average="macro"),
}


@pytest.mark.parametrize("specification", map_specifications(loss_unit="nats"), ids=lambda each: each.name)
def test_a_metric_is_what_scikit_learn_computes(specification):
    assert summarize_maps(sums())[specification.name] == pytest.approx(METRICS[specification.name], rel=1e-6)
    assert specification.total in {*sums(), *sums(detail=False)}


def test_what_is_counted_by_class():
    summary = summarize_maps(sums())
    assert summary["confusion"] == confusion_matrix(TRUE, PREDICTED).tolist()
    assert summary["per_class_iou"] == pytest.approx(jaccard_score(TRUE, PREDICTED, average=None))
    assert summary["per_class_dice"] == pytest.approx(f1_score(TRUE, PREDICTED, average=None))
    assert summary["per_class_pixels"] == np.bincount(TRUE).tolist()


def test_background_can_be_left_out_of_the_means():
    summary = summarize_maps(sums(), background=False)
    assert summary["mean_iou"] == pytest.approx(jaccard_score(TRUE, PREDICTED, average=None)[1:].mean())
    assert summary["dice"] == pytest.approx(f1_score(TRUE, PREDICTED, average=None)[1:].mean())
    assert summary["pixel_accuracy"] == METRICS["pixel_accuracy"]
    assert len(summary["per_class_iou"]) == K


def test_worked_by_hand():
    """Six pixels: two of three of class 1 are found, and one of class 0 is taken for it."""
    mask = np.array([[[1, 1, 1], [0, 0, 0]]])
    predicted = np.array([[[1, 1, 0], [1, 0, 0]]])
    summary = summarize_maps(sums(np.eye(2, dtype=np.float32)[predicted], mask, EVERY[:1], LOSSES[:1], 2))
    assert summary["per_class_iou"] == [2 / 4, 2 / 4]
    assert summary["per_class_dice"] == [4 / 6, 4 / 6]
    assert summary["pixel_accuracy"] == 4 / 6
    assert summary["confusion"] == [[2, 1], [1, 2]]


def test_summary_is_plain_python():
    summary = summarize_maps(sums())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert list(summary)[:5] == ["count", "loss", "mean_iou", "dice", "pixel_accuracy"]
    assert all(type(count) is int for row in summary["confusion"] for count in row)


def test_a_class_neither_there_nor_predicted_is_in_no_mean():
    mask, logits = np.minimum(MASK[:2], 1), LOGITS[:2].copy()
    logits[..., 3] = -9
    logits[..., 2] = -9
    logits[0, 0, 0, 2] = 99
    summary = summarize_maps(sums(logits, mask, EVERY[:2], LOSSES[:2], ignore=None))
    # Class 2 is predicted once, so it counts, as 0.
    assert summary["per_class_iou"][2:] == [0.0, None]
    assert summary["per_class_dice"][2:] == [0.0, None]
    assert summary["mean_iou"] == pytest.approx(sum(summary["per_class_iou"][:2]) / 3)


def test_in_training_scalars_are_enough():
    batch = sums(detail=False)
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "count": ((), "int32"),
        "loss": ((), "float32"),
        "pixels": ((), "int32"),
        "correct_pixels": ((), "int32"),
    }
    summary = summarize_maps({name: float(value) for name, value in batch.items()})
    assert summary == {"count": B, "loss": pytest.approx(METRICS["loss"]), "pixel_accuracy": METRICS["pixel_accuracy"]}


def test_batches_add_up_and_padding_counts_nothing():
    total = None
    for start in (0, 3, 6):
        rows = np.arange(start, start + 3)
        real = rows < B
        rows = np.minimum(rows, B - 1)
        logits = np.where(real[:, None, None, None], LOGITS[rows], np.nan)
        batch = sums(logits, np.where(real[:, None, None], MASK[rows], 7), real, np.where(real, LOSSES[rows], np.nan))
        total = batch if total is None else jax.tree.map(operator.add, total, batch)
    summary, whole = summarize_maps(total), summarize_maps(sums())
    # Floats are added in another order.
    assert summary.pop("loss") == pytest.approx(whole.pop("loss"), rel=1e-6)
    assert summary == whole


def test_counts_pass_two_to_the_31():
    """The words of 2^28 times the pixels."""
    many = 2**28
    counts = confusion_matrix(TRUE, PREDICTED) * many
    table = np.zeros((K + 1, K + 1), np.int64)
    table[:K, :K] = counts
    words = np.stack([table // WORD, table % WORD]).astype(np.int32)
    summary = summarize_maps({"count": 1, "loss": 0.0, "confusion": words})
    assert summary["confusion"] == counts.tolist()
    assert counts.max() > 2**31
    assert summary["mean_iou"] == pytest.approx(METRICS["mean_iou"])


def test_a_batch_of_more_pixels_than_a_word():
    mask = np.zeros((1, 2048, 1), np.uint8)
    logits = np.zeros((1, 2048, 1, 2), np.float32)
    batch = sums(logits, mask, EVERY[:1], LOSSES[:1], 2, None)
    assert np.asarray(batch["confusion"])[:, 0, 0].tolist() == [2, 0]
    assert summarize_maps(batch)["confusion"] == [[2048, 0], [0, 0]]


def test_one_output_decides_between_two_classes():
    mask = np.where(MASK == IGNORE, IGNORE, MASK % 2)
    true, predicted = mask[mask != IGNORE], LOGITS[..., 0][mask != IGNORE] > 0
    summary = summarize_maps(sums(LOGITS[..., :1], mask, classes=2))
    assert summary["confusion"] == confusion_matrix(true, predicted).tolist()


def test_nan_logits_and_unknown_classes_are_never_correct():
    logits, mask = LOGITS.copy(), MASK.astype(np.int32)
    logits[0, 0, :, 1] = np.nan
    mask[1, 0, :2], mask[1, 0, 2:] = -1, K
    batch = sums(logits, mask)
    lost = np.zeros_like(mask, bool)
    lost[0, 0], lost[1, 0] = True, True
    hits = (LOGITS.argmax(axis=-1) == mask) & ~lost & (mask != IGNORE)
    summary = summarize_maps(batch)
    assert summary["pixel_accuracy"] == pytest.approx(hits.sum() / (mask != IGNORE).sum())
    assert summary["pixel_accuracy"] == summarize_maps(sums(logits, mask, detail=False))["pixel_accuracy"]
    seen = (mask != IGNORE) & ~lost
    assert summary["confusion"] == confusion_matrix(mask[seen], LOGITS.argmax(axis=-1)[seen]).tolist()
    # A pixel without an answer is one that its class misses.
    assert summary["per_class_pixels"] == np.bincount(mask[(mask >= 0) & (mask < K)]).tolist()


def test_ties_go_to_the_first_class():
    summary = summarize_maps(sums(np.zeros_like(LOGITS)))
    assert np.array(summary["confusion"])[:, 0].tolist() == np.bincount(TRUE).tolist()


@pytest.mark.parametrize("detail", [True, False])
def test_no_pixel_counts(detail):
    summary = summarize_maps(sums(mask=np.full_like(MASK, IGNORE), detail=detail))
    assert np.isnan(summary["pixel_accuracy"])
    assert np.isnan(summary.get("mean_iou", np.nan))


def test_nothing_measured():
    with pytest.raises(DataError, match="padding"):
        summarize_maps(sums(valid=~EVERY))


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="4 outputs cannot rank 9 classes"):
        sums(classes=9)
    with pytest.raises(ShapeError, match=r"masks of shape \(8, 3, 5\) do not fit logits of shape \(8, 6, 5, 4\)"):
        sums(mask=MASK[:, :3])


def traced(logits, mask, valid, losses):
    return measure_maps(logits, mask=mask, valid=valid, losses=losses, classes=K, ignore=IGNORE)


def test_lanes_are_measured_apart():
    stacked = [np.stack([array, array[::-1]]) for array in (LOGITS, MASK, EVERY, LOSSES)]
    stacked[1][1] = MASK
    both = jax.jit(jax.vmap(traced))(*map(jnp.asarray, stacked))
    for lane in range(2):
        alone = jax.jit(traced)(*(jnp.asarray(array[lane]) for array in stacked))
        chex.assert_trees_all_close(jax.tree.map(operator.itemgetter(lane), both), alone, rtol=1e-6)


def test_a_batch_over_eight_devices():
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    arrays = [jnp.asarray(array) for array in (LOGITS, MASK, EVERY, LOSSES)]
    split = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("batch")))
    once = jax.jit(traced, out_shardings=NamedSharding(mesh, PartitionSpec()))
    chex.assert_trees_all_close(jax.device_get(once(*split)), jax.device_get(traced(*arrays)), rtol=1e-6)
