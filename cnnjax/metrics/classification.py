"""Metrics as sums and counts: batches and devices are added up first, divided once, on the host.

`measure` gives the sums of one batch; add batches with `jax.tree.map(operator.add, a, b)`; `summarize` turns the total
into numbers. So ten images at batch four count as ten, and a mean is never taken of means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import DataError, ShapeError
from cnnjax.records.resolved import Specification
from cnnjax.statistics.calibration import BINS

TOP = 5
"""Top-5 accuracy is measured where there are more classes than that."""

SPECIFICATIONS = (
    Specification(name="loss", total="loss", unit="", higher_is_better=False, printed=".4f"),
    Specification(name="accuracy", total="correct", unit="share", higher_is_better=True, printed=".2%", binomial=True),
    Specification(
        name="top5_accuracy", total="correct_top5", unit="share", higher_is_better=True, printed=".2%", binomial=True
    ),
    Specification(name="mean_squared_error", total="squared_error", unit="", higher_is_better=False, printed=".4f"),
    Specification(name="mean_absolute_error", total="absolute_error", unit="", higher_is_better=False, printed=".4f"),
    Specification(
        name="expected_calibration_error", total="bin_correct", unit="share", higher_is_better=False, printed=".4f"
    ),
)
"""What `summarize` makes of the sums. The unit of a loss is the loss's own (`Loss.unit`); "" is that of the labels,
squared for the squared error."""


def specifications(classes: int | None, *, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured of outputs for that many classes (None: labels are not classes), the most important first."""
    totals = {"loss", "squared_error", "absolute_error"} if classes is None else {"loss", "correct", "bin_correct"}
    if classes is not None and classes > TOP:
        totals.add("correct_top5")
    chosen = (each for each in SPECIFICATIONS if each.total in totals)
    known = (each.model_copy(update={"unit": loss_unit}) if each.name == "loss" else each for each in chosen)
    return tuple(sorted(known, key=lambda each: not each.binomial))


def measure(
    logits: jax.Array,
    *,
    labels: jax.Array,
    mask: jax.Array,
    losses: jax.Array,
    classes: int | None,
    predictions: jax.Array | None = None,
    detail: bool = True,
) -> dict[str, jax.Array]:
    """The sums of one batch; counts are exact int32, the rest float32.

    `logits`: outputs [B, K]. `labels`: class ids [B], or distributions [B, C] that count as their likeliest class;
    numbers [B] or [B, K] where `classes` is None. `mask`: [B], False for padding, which then adds nothing, whatever it
    holds. `losses`: [B]. `classes`: C, which is K, or 2 with K = 1; None for continuous, count and multi-label outputs.
    `predictions`: [B, K], the outputs in the units of the labels (`Loss.predictions`); without them softmax (K = C),
    sigmoid (K = 1), or the outputs themselves (no classes). `detail`: False leaves count, loss and correct.

    count, loss; with classes: correct, correct_top5 (with more than 5 classes: of fewer, all are among the top 5),
    class_count [C], class_correct [C], confusion [C, C] (rows are true classes), and bin_count, bin_correct,
    bin_confidence [15] of the likeliest class's probability p, in bins (i/15, (i+1)/15]; without: squared_error and
    absolute_error, averaged over an example's K.
    Equal logits rank in order of class id, as argmax does. An example with a NaN logit counts but is never correct, and
    is in no bin and no column of `confusion`; so does one whose label is no class. Raises ShapeError.
    """
    mask = mask.astype(bool)
    sums = {"count": _count(mask), "loss": _total(losses, mask)}
    if classes is None:
        values = logits if predictions is None else predictions
        return sums | (_errors(values, labels=labels, mask=mask) if detail else {})
    scores, probabilities = by_class(logits.astype(jnp.float32), predictions=predictions, classes=classes)
    true = jnp.argmax(labels, axis=1) if labels.ndim == 2 else labels
    known = mask & (true >= 0) & (true < classes)
    true = jnp.where(known, true, 0)
    ranked = known & ~jnp.any(jnp.isnan(scores), axis=1)
    rank = _rank(scores, true=true)
    correct = ranked & (rank == 0)
    sums["correct"] = _count(correct)
    if not detail:
        return sums
    predicted = jnp.argmax(scores, axis=1)
    confidence = jnp.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]
    per_class = jnp.zeros(classes, jnp.int32)
    sums |= {"correct_top5": _count(ranked & (rank < TOP))} if classes > TOP else {}
    return sums | {
        "class_count": per_class.at[true].add(known.astype(jnp.int32)),
        "class_correct": per_class.at[true].add(correct.astype(jnp.int32)),
        "confusion": jnp.zeros((classes, classes), jnp.int32).at[true, predicted].add(ranked.astype(jnp.int32)),
        **_calibration(confidence, correct=correct, mask=ranked),
    }


def summarize(sums: Mapping[str, Any]) -> dict[str, Any]:
    """What the `sums` of a whole data set mean, as plain Python numbers and lists; runs on the host.

    count, loss (mean, nats); accuracy, top5_accuracy, per_class_accuracy (None for a class without examples),
    per_class_count, confusion (rows are true classes) and expected_calibration_error, all shares in 0..1 but the
    counts; or mean_squared_error and mean_absolute_error. Only what `sums` hold is there. Raises DataError if no
    example was measured.
    """
    totals = {name: np.asarray(value) for name, value in sums.items()}
    count = int(totals["count"])
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    means = [each for each in SPECIFICATIONS if each.total in totals and not totals[each.total].ndim]
    summary: dict[str, Any] = {"count": count}
    summary |= {each.name: float(totals[each.total]) / count for each in means}
    if "confusion" in totals:
        summary["per_class_accuracy"] = _shares(totals["class_correct"], totals["class_count"])
        summary["per_class_count"] = totals["class_count"].tolist()
        summary["confusion"] = totals["confusion"].tolist()
        summary["expected_calibration_error"] = _calibration_error(totals)
    return summary


def by_class(logits: jax.Array, *, predictions: jax.Array | None, classes: int) -> tuple[jax.Array, jax.Array]:
    """Scores to rank classes by and their probabilities, both [B, C]; one output is the probability of class 1 of 2."""
    outputs = logits.shape[1]
    if outputs == classes:
        return logits, jax.nn.softmax(logits) if predictions is None else predictions.astype(jnp.float32)
    if (outputs, classes) != (1, 2):
        raise ShapeError(f"metrics: {outputs} outputs cannot rank {classes} classes")
    second = jax.nn.sigmoid(logits) if predictions is None else predictions.astype(jnp.float32)
    probabilities = jnp.concatenate([1 - second, second], axis=1)
    return probabilities, probabilities


def _count(flags: jax.Array) -> jax.Array:
    return jnp.sum(flags, dtype=jnp.int32)


def _total(values: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(mask, values.astype(jnp.float32), 0.0))


def _errors(values: jax.Array, *, labels: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    targets = labels[:, None] if labels.ndim == 1 else labels
    if targets.shape != values.shape:
        raise ShapeError(f"metrics: labels of shape {labels.shape} do not fit outputs of shape {values.shape}")
    errors = values.astype(jnp.float32) - targets.astype(jnp.float32)
    return {
        "squared_error": _total(jnp.mean(jnp.square(errors), axis=1), mask),
        "absolute_error": _total(jnp.mean(jnp.abs(errors), axis=1), mask),
    }


def _rank(scores: jax.Array, *, true: jax.Array) -> jax.Array:
    """How many classes stand before the true one, [B]: those that score higher, and equals with a lower id."""
    own = jnp.take_along_axis(scores, true[:, None], axis=1)
    lower_id = jnp.arange(scores.shape[1])[None, :] < true[:, None]
    return jnp.sum((scores > own) | ((scores == own) & lower_id), axis=1)


def _calibration(confidence: jax.Array, *, correct: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    confidence = jnp.clip(confidence, 0.0, 1.0)
    position = jnp.clip(jnp.ceil(confidence * BINS).astype(jnp.int32) - 1, 0, BINS - 1)
    # A dense [B, 15] sum and no scatter: adding floats in a fixed order keeps the result bitwise the same on a GPU.
    inside = (position[:, None] == jnp.arange(BINS)[None, :]) & (mask & ~jnp.isnan(confidence))[:, None]
    return {
        "bin_count": jnp.sum(inside, axis=0, dtype=jnp.int32),
        "bin_correct": jnp.sum(inside & correct[:, None], axis=0, dtype=jnp.int32),
        "bin_confidence": jnp.sum(jnp.where(inside, confidence[:, None], 0.0), axis=0),
    }


def _shares(parts: np.ndarray, wholes: np.ndarray) -> list[float | None]:
    return [float(part) / float(whole) if whole else None for part, whole in zip(parts, wholes, strict=True)]


def _calibration_error(totals: Mapping[str, np.ndarray]) -> float:
    """Mean over examples of |accuracy - confidence| of their bin (Guo et al., eq. 3); NaN if all bins are empty."""
    gaps = np.abs(totals["bin_correct"] - totals["bin_confidence"].astype(np.float64))
    binned = int(totals["bin_count"].sum())
    return float(gaps.sum()) / binned if binned else float("nan")
