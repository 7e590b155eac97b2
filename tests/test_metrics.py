"""Metrics against scikit-learn and a calibration error written out by hand."""

from __future__ import annotations

import json
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy.special import expit, softmax
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    mean_absolute_error,
    mean_squared_error,
    recall_score,
    top_k_accuracy_score,
)

from cnnjax.errors import DataError, ShapeError
from cnnjax.metrics import SPECIFICATIONS, measure, summarize

N, CLASSES = 200, 8
RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(N, CLASSES)) * 2).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, N)
LOSSES = RNG.random(N).astype(np.float32)
EVERY = np.ones(N, bool)
compiled = jax.jit(measure, static_argnames=("classes", "detail"))


def sums(logits=LOGITS, labels=LABELS, mask=EVERY, losses=LOSSES, classes=CLASSES, **rest):
    logits, labels, mask, losses = map(jnp.asarray, (logits, labels, mask, losses))
    return compiled(logits, labels=labels, mask=mask, losses=losses, classes=classes, **rest)


def calibration_error(probabilities, labels, bins=15):
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error = 0.0
    for i in range(bins):
        inside = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return error


TARGETS = RNG.normal(size=(N, CLASSES)).astype(np.float32)
PROBABILITIES = softmax(LOGITS.astype(np.float64), axis=1)
METRICS = {  # as others compute them, of classes and of numbers
    "loss": (LOSSES.mean(), LOSSES.mean()),
    "accuracy": (accuracy_score(LABELS, LOGITS.argmax(axis=1)), None),
    "top5_accuracy": (top_k_accuracy_score(LABELS, LOGITS, k=5), None),
    "expected_calibration_error": (calibration_error(PROBABILITIES, LABELS), None),
    "mean_squared_error": (None, mean_squared_error(TARGETS, LOGITS)),
    "mean_absolute_error": (None, mean_absolute_error(TARGETS, LOGITS)),
}


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda each: each.name)
def test_a_metric_is_what_others_compute(specification):
    found = summarize(sums()), summarize(sums(labels=TARGETS, classes=None))
    for summary, expected in zip(found, METRICS[specification.name], strict=True):
        assert summary.get(specification.name) == (None if expected is None else pytest.approx(expected, rel=1e-5))


def test_what_is_counted_by_class_is_scikit_learns():
    summary, predicted = summarize(sums()), LOGITS.argmax(axis=1)
    assert summary["count"] == N
    assert summary["confusion"] == confusion_matrix(LABELS, predicted).tolist()
    np.testing.assert_allclose(summary["per_class_accuracy"], recall_score(LABELS, predicted, average=None))
    assert summary["per_class_count"] == np.bincount(LABELS).tolist()


def test_summary_is_plain_python():
    summary = summarize(sums())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert type(summary["accuracy"]) is float
    assert list(summary) == [
        "count",
        "loss",
        "accuracy",
        "top5_accuracy",
        "per_class_accuracy",
        "per_class_count",
        "confusion",
        "expected_calibration_error",
    ]


@pytest.mark.parametrize("two_columns", [False, True])
def test_one_output_decides_between_two_classes(two_columns):
    logits, labels = LOGITS[:, :1], LABELS % 2
    summary = summarize(sums(logits, np.eye(2)[labels] if two_columns else labels, classes=2))
    yes = expit(logits[:, 0].astype(np.float64))
    assert summary["accuracy"] == accuracy_score(labels, logits[:, 0] > 0)
    assert summary["confusion"] == confusion_matrix(labels, logits[:, 0] > 0).tolist()
    expected = calibration_error(np.stack([1 - yes, yes], axis=1), labels)
    assert summary["expected_calibration_error"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("classes", "known"), [(2, False), (3, False), (5, False), (6, True)])
def test_top_5_needs_more_classes_than_five(classes, known):
    summary = summarize(sums(LOGITS[:, :classes], LABELS % classes, classes=classes))
    assert ("top5_accuracy" in summary) == known
    if known:
        assert summary["top5_accuracy"] == top_k_accuracy_score(LABELS % classes, LOGITS[:, :classes], k=5) < 1


def test_predictions_are_what_is_calibrated():
    summary = summarize(sums(predictions=jax.nn.sigmoid(jnp.asarray(LOGITS))))
    expected = calibration_error(expit(LOGITS.astype(np.float64)), LABELS)
    assert summary["expected_calibration_error"] == pytest.approx(expected, abs=1e-6)
    assert summary["accuracy"] == accuracy_score(LABELS, LOGITS.argmax(axis=1))


@pytest.mark.parametrize("width", [1, 3])
def test_numbers(width):
    targets = RNG.normal(size=(N, width)).astype(np.float32)
    summary = summarize(sums(LOGITS[:, :width], targets[:, 0] if width == 1 else targets, classes=None))
    assert list(summary) == ["count", "loss", "mean_squared_error", "mean_absolute_error"]
    assert summary["mean_squared_error"] == pytest.approx(mean_squared_error(targets, LOGITS[:, :width]), rel=1e-5)
    assert summary["mean_absolute_error"] == pytest.approx(mean_absolute_error(targets, LOGITS[:, :width]), rel=1e-5)


def test_counts_are_judged_by_their_rate():
    logits, counts = LOGITS[:, :1] / 2, RNG.integers(0, 9, N)
    summary = summarize(sums(logits, counts, classes=None, predictions=jnp.exp(jnp.asarray(logits))))
    assert summary["mean_squared_error"] == pytest.approx(mean_squared_error(counts, np.exp(logits[:, 0])), rel=1e-5)


def test_batches_add_up_and_padding_counts_nothing():
    """Ten images at batch four count ten, whatever the last batch is filled with."""
    total = None
    for start in (0, 4, 8):
        rows = np.arange(start, start + 4)
        real = rows < 10
        logits = np.where(real[:, None], LOGITS[rows], np.nan)
        labels = np.where(real, LABELS[rows], -1)
        losses = np.where(real, LOSSES[rows], np.nan)
        batch = sums(logits, labels, real, losses)
        total = batch if total is None else jax.tree.map(operator.add, total, batch)
    whole = sums(LOGITS[:10], LABELS[:10], EVERY[:10], LOSSES[:10])
    assert int(total["count"]) == 10
    # Floats are added in another order.
    chex.assert_trees_all_close(total, whole, rtol=1e-6)


def test_padding_of_numbers_counts_nothing():
    mask = np.array([True, False])
    batch = sums(np.array([[1.0], [np.nan]]), np.array([3.0, 0.0]), mask, np.array([4.0, np.nan]), classes=None)
    assert {name: float(value) for name, value in batch.items()} == {
        "count": 1,
        "loss": 4,
        "squared_error": 4,
        "absolute_error": 2,
    }


def test_types_are_exact():
    for detail in (True, False):
        batch = sums(LOGITS.astype(jnp.bfloat16), losses=LOSSES.astype(jnp.bfloat16), detail=detail)
        kinds = {name: value.dtype for name, value in batch.items()}
        assert {name for name, kind in kinds.items() if kind == jnp.float32} == {"loss", "bin_confidence"} & set(kinds)
        assert {kind for kind in kinds.values() if kind != jnp.float32} == {jnp.dtype(jnp.int32)}
    assert set(batch) == {"count", "loss", "correct"}


def test_mixed_labels_count_as_their_likeliest_class():
    mixed = 0.7 * np.eye(CLASSES)[LABELS] + 0.3 * np.eye(CLASSES)[LABELS[::-1]]
    chex.assert_trees_all_equal(sums(labels=mixed), sums())


def test_ties_rank_by_class_id():
    equal = np.zeros((7, 7), np.float32)
    batch = sums(equal, np.arange(7), EVERY[:7], LOSSES[:7], classes=7)
    assert np.asarray(batch["class_correct"]).tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert int(batch["correct_top5"]) == 5
    assert np.asarray(batch["confusion"])[:, 0].tolist() == [1] * 7


def test_nan_logits_are_never_correct():
    logits = LOGITS.copy()
    logits[:3, 5] = np.nan
    summary = summarize(sums(logits))
    hits = (LOGITS.argmax(axis=1) == LABELS) & (np.arange(N) >= 3)
    assert summary["accuracy"] == pytest.approx(hits.mean())
    assert summary["count"] == N
    assert np.sum(summary["confusion"]) == N - 3
    assert summary["per_class_count"] == np.bincount(LABELS).tolist()
    all_nan = summarize(sums(np.full_like(LOGITS, np.nan)))
    assert all_nan["accuracy"] == all_nan["top5_accuracy"] == 0.0
    assert np.isnan(all_nan["expected_calibration_error"])


def test_unknown_labels_are_never_correct():
    labels = LABELS.copy()
    labels[:2] = [-1, CLASSES]
    batch = sums(labels=labels)
    assert int(batch["count"]) == N
    assert int(batch["confusion"].sum()) == int(batch["class_count"].sum()) == N - 2
    assert int(batch["correct"]) == int((LOGITS.argmax(axis=1) == labels).sum())


def test_a_class_without_examples_has_no_accuracy():
    summary = summarize(sums(LOGITS[:2], np.array([0, 3]), EVERY[:2], LOSSES[:2]))
    unmeasured = [label for label, share in enumerate(summary["per_class_accuracy"]) if share is None]
    assert unmeasured == [label for label in range(CLASSES) if label not in (0, 3)]


def test_nothing_measured():
    with pytest.raises(DataError, match="padding"):
        summarize(sums(mask=~EVERY))


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="8 outputs cannot rank 9 classes"):
        sums(classes=9)
    with pytest.raises(ShapeError, match=r"labels of shape \(200, 2\) do not fit outputs of shape \(200, 8\)"):
        sums(labels=np.zeros((N, 2)), classes=None)


def traced(logits, labels, mask, losses):
    return measure(logits, labels=labels, mask=mask, losses=losses, classes=CLASSES)


def test_lanes_are_measured_apart():
    stacked = [np.stack([array, array[::-1]]) for array in (LOGITS, LABELS, EVERY, LOSSES)]
    stacked[1][1] = LABELS
    both = jax.jit(jax.vmap(traced))(*map(jnp.asarray, stacked))
    for lane in range(2):
        alone = jax.jit(traced)(*(jnp.asarray(array[lane]) for array in stacked))
        chex.assert_trees_all_close(jax.tree.map(operator.itemgetter(lane), both), alone, rtol=1e-6)


def test_a_batch_over_eight_devices():
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    arrays = [jnp.asarray(array) for array in (LOGITS, LABELS, EVERY, LOSSES)]
    split = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("batch")))
    once = jax.jit(chex.assert_max_traces(traced, n=1), out_shardings=NamedSharding(mesh, PartitionSpec()))
    chex.assert_trees_all_close(jax.device_get(once(*split)), jax.device_get(traced(*arrays)), rtol=1e-6)
    once(*split)
