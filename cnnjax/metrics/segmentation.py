"""Metrics of masks as sums of pixels, which add up over batches and devices and are divided once, on the host.

Counts of a whole part are kept as two int32 words each: 2^31 pixels are eight thousand images of 512x512, at which a
single word would turn negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import DataError, ShapeError
from cnnjax.records.resolved import Specification

WORD = 2**10
"""A count is WORD times its first word plus its second: exact up to two million batches of 2^41 pixels in all."""


def map_specifications(*, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured of masks, the most important first. loss_unit: the loss's own (`Loss.unit`)."""
    shares = (
        ("mean_iou", "mean IoU", "confusion"),
        ("dice", "Dice", "confusion"),
        ("pixel_accuracy", "pixel accuracy", "correct_pixels"),
    )
    return (
        *(
            Specification(name=name, label=label, total=total, unit="share", higher_is_better=True, printed=".2%")
            for name, label, total in shares
        ),
        Specification(name="loss", total="loss", unit=loss_unit, higher_is_better=False, printed=".4f"),
    )


def measure_maps(
    logits: jax.Array,
    *,
    mask: jax.Array,
    valid: jax.Array,
    losses: jax.Array,
    classes: int,
    ignore: int | None = None,
    detail: bool = True,
) -> dict[str, jax.Array]:
    """The sums of one batch of masks; counts are exact int32.

    logits: [B, H, W, K]. mask: class ids, integers [B, H, W]. valid: [B], False for padding, which then adds nothing,
    whatever it holds. losses: [B]. classes: C, which is K, or 2 with K = 1 (the log-odds of class 1). ignore: the id of
    pixels that do not count. detail: False leaves count, loss, pixels and correct_pixels, which are scalars.

    count (examples), loss; confusion, int32 [2, C + 1, C + 1] in two words: rows are the classes of the mask, columns
    those of the largest logit (of equals the first). The last row is for pixels whose id is no class, the last column
    for pixels with a NaN logit: both count, and are never correct. Raises ShapeError.
    """
    if mask.shape != logits.shape[:3]:
        raise ShapeError(f"metrics: masks of shape {mask.shape} do not fit logits of shape {logits.shape}")
    valid = valid.astype(bool)
    ids = mask.astype(jnp.int32)
    counted = jnp.broadcast_to(valid[:, None, None], ids.shape)
    counted = counted if ignore is None else counted & (ids != ignore)
    true = jnp.where((ids >= 0) & (ids < classes), ids, classes)
    scores = map_scores(logits.astype(jnp.float32), classes)
    predicted = jnp.where(jnp.any(jnp.isnan(scores), axis=-1), classes, jnp.argmax(scores, axis=-1))
    sums = {
        "count": jnp.sum(valid, dtype=jnp.int32),
        "loss": jnp.sum(jnp.where(valid, losses.astype(jnp.float32), 0.0)),
    }
    if not detail:
        correct = counted & (true == predicted) & (true < classes)
        return sums | {
            "pixels": jnp.sum(counted, dtype=jnp.int32),
            "correct_pixels": jnp.sum(correct, dtype=jnp.int32),
        }
    cells = (true * (classes + 1) + predicted).reshape(-1)
    counts = jnp.zeros((classes + 1) ** 2, jnp.int32).at[cells].add(counted.reshape(-1).astype(jnp.int32))
    return sums | {"confusion": _words(counts.reshape(classes + 1, classes + 1))}


def summarize_maps(sums: Mapping[str, Any], *, background: bool = True) -> dict[str, Any]:
    """What the `sums` of a whole data set mean, as plain Python numbers and lists; runs on the host.

    count (examples), loss (their mean), pixel_accuracy (share of pixels whose class is right); with confusion: mean_iou
    and dice, the means over classes of per_class_iou, TP / (TP + FP + FN), and per_class_dice, 2 TP / (2 TP + FP + FN),
    of the pixels of all examples together (Long et al. 2015, arXiv:1411.4038, section 5); per_class_pixels; confusion
    (rows are classes of the mask). A class that is neither in a mask nor predicted has None and is in no mean.
    background: whether class 0 is in the means. NaN where no pixel counts. Raises DataError if no example was measured.
    """
    totals = {name: np.asarray(value) for name, value in sums.items()}
    count = int(totals["count"])
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    summary: dict[str, Any] = {"count": count, "loss": float(totals["loss"]) / count}
    if "confusion" not in totals:
        return summary | {"pixel_accuracy": _share(totals["correct_pixels"], totals["pixels"])}
    table = _whole(totals["confusion"])
    confusion = table[:-1, :-1]
    hits, in_mask, predicted = np.diag(confusion), table[:-1].sum(axis=1), confusion.sum(axis=0)
    iou, dice = _shares(hits, in_mask + predicted - hits), _shares(2 * hits, in_mask + predicted)
    first = 0 if background else 1
    return summary | {
        "mean_iou": _mean(iou[first:]),
        "dice": _mean(dice[first:]),
        "pixel_accuracy": _share(hits.sum(), table.sum()),
        "per_class_iou": iou,
        "per_class_dice": dice,
        "per_class_pixels": in_mask.tolist(),
        "confusion": confusion.tolist(),
    }


def map_scores(logits: jax.Array, classes: int) -> jax.Array:
    """What classes rank by, [..., C], of `logits` [..., K]; one output is the log-odds of class 1 of 2. ShapeError."""
    outputs = logits.shape[-1]
    if outputs == classes:
        return logits
    if (outputs, classes) != (1, 2):
        raise ShapeError(f"metrics: {outputs} outputs cannot rank {classes} classes")
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)


def _words(counts: jax.Array) -> jax.Array:
    return jnp.stack([counts // WORD, counts % WORD])


def _whole(words: np.ndarray) -> np.ndarray:
    return words[0].astype(np.int64) * WORD + words[1]


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _shares(parts: np.ndarray, wholes: np.ndarray) -> list[float | None]:
    return [float(part) / float(whole) if whole else None for part, whole in zip(parts, wholes, strict=True)]


def _mean(shares: list[float | None]) -> float:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else float("nan")
