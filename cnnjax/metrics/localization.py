"""Metrics of one box and one class an image, as sums over the images that have a box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import DataError
from cnnjax.records.resolved import Specification

OVERLAP = 0.5
"""The IoU from which on an object counts as found, as in the ImageNet localization challenge."""


def localization_specifications(*, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured, the most important first. loss_unit: the loss's own (`Loss.unit`)."""
    shares = (("localized", "class and IoU >= 0.5", "localized"), ("mean_iou", "mean IoU", "iou"))
    accuracy = Specification(name="accuracy", total="correct", unit="share", higher_is_better=True, printed=".2%")
    return (
        *(
            Specification(name=name, label=label, total=total, unit="share", higher_is_better=True, printed=".2%")
            for name, label, total in shares
        ),
        accuracy,
        Specification(name="loss", total="loss", unit=loss_unit, higher_is_better=False, printed=".4f"),
    )


def measure_localization(
    *, right: jax.Array, iou: jax.Array, there: jax.Array, valid: jax.Array, losses: jax.Array
) -> dict[str, jax.Array]:
    """The sums of one batch; counts are exact int32.

    right, bool [B]: the class is. iou [B]: of both boxes. there, bool [B]: the image has a box; one without adds to
    `count` and `loss` alone. valid [B]: False for padding, which adds nothing, whatever it holds. losses [B].
    """
    valid = valid.astype(bool)
    counted = valid & there
    return {
        "count": jnp.sum(valid, dtype=jnp.int32),
        "loss": jnp.sum(jnp.where(valid, losses.astype(jnp.float32), 0.0)),
        "objects": jnp.sum(counted, dtype=jnp.int32),
        "correct": jnp.sum(counted & right, dtype=jnp.int32),
        "localized": jnp.sum(counted & right & (iou >= OVERLAP), dtype=jnp.int32),
        "iou": jnp.sum(jnp.where(counted, iou, 0.0)),
    }


def summarize_localization(sums: Mapping[str, Any]) -> dict[str, Any]:
    """What the `sums` of a whole part mean: count (images), loss (their mean), and of the `objects`, the images with a
    box, accuracy, mean_iou and localized, the share whose class is right and whose IoU is at least `OVERLAP`.

    NaN where no image has a box. Raises DataError if no example was measured.
    """
    totals = {name: np.asarray(value) for name, value in sums.items()}
    count, objects = int(totals["count"]), int(totals["objects"])
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    means = {"localized": "localized", "mean_iou": "iou", "accuracy": "correct"}
    shares = {name: float(totals[of]) / objects if objects else float("nan") for name, of in means.items()}
    return {"count": count, "objects": objects, "loss": float(totals["loss"]) / count, **shares}
