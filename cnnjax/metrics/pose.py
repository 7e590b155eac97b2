"""How well joints are found: PCK, and average precision by COCO's object keypoint similarity (OKS).

OKS and AP follow COCO's rules (Lin et al. 2014, arXiv:1405.0312; cocodataset.org/#keypoints-eval) where an image has
one figure at most and one pose is said of it. They are computed in NumPy, of all images of a part together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import DataError
from cnnjax.metrics.detection import RECALLS, THRESHOLDS, Matched, curve, outside, take
from cnnjax.records.resolved import Specification

SIZES = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas of figures in pixels, both ends included."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is true of N images: joints [N, K, 3], x, y in pixels and visibility, above 0 where the place is known;
    boxes [N, 4], x_min, y_min, x_max, y_max; there [N], False where an image has no figure.

    areas [N], in pixels; None for those of the boxes. A figure of which no joint is known need not be found.
    """

    joints: np.ndarray
    boxes: np.ndarray
    there: np.ndarray
    areas: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """Which joints are, bool [N, K]."""
        return np.greater(self.joints[..., 2], 0)

    @property
    def area(self) -> np.ndarray:
        if self.areas is not None:
            return self.areas
        return (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])


def similarity(found: np.ndarray, figures: Figures, sigmas: Sequence[float]) -> np.ndarray:
    """OKS of a pose [N, K, 2 or more] and the figure of each image, float64 [N].

    The mean over known joints of exp(-d^2 / (2 area (2 sigma)^2)), d being the distance. Of a figure without known
    joints d is how far a joint lies outside a box three times as wide and high as the figure's, along each axis.
    """
    found, true = found[..., :2].astype(np.float64), figures.joints.astype(np.float64)
    known = figures.known
    low, high = np.split(figures.boxes.astype(np.float64)[:, None], 2, axis=-1)
    beyond = np.maximum(0, low - (high - low) - found) + np.maximum(0, found - high - (high - low))
    any_known = np.any(known, axis=1, keepdims=True)
    away = np.square(np.where(any_known[..., None], found - true[..., :2], beyond)).sum(-1)
    variances = np.square(2 * np.asarray(sigmas, np.float64))
    area = figures.area.astype(np.float64)[:, None] + np.spacing(1)
    counted = np.where(any_known, known, True)
    return np.where(counted, np.exp(-away / variances / area / 2), 0).sum(1) / counted.sum(1)


@dataclass(frozen=True)
class PoseCurves:
    """What COCO's evaluation accumulates, of one class; -1 where no figure is of a size.

    precision: [T, R, A], at each threshold of OKS, recall and size. recall: [T, A].
    """

    precision: np.ndarray
    recall: np.ndarray

    def ap(self, *, threshold: float | None = None, size: str = "all") -> float | None:
        """Mean over thresholds (or at one) and recalls; None where there is no figure of that size."""
        return _mean(self.precision[_at(threshold), :, list(SIZES).index(size)])

    def ar(self, *, threshold: float | None = None, size: str = "all") -> float | None:
        """Mean of the greatest recalls over thresholds, or that at one."""
        return _mean(self.recall[_at(threshold), list(SIZES).index(size)])


def _at(threshold: float | None) -> np.ndarray | slice:
    return slice(None) if threshold is None else np.isclose(THRESHOLDS, threshold)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if (values > -1).all() else None


def pose_curves(found: np.ndarray, scores: np.ndarray, figures: Figures, sigmas: Sequence[float]) -> PoseCurves:
    """Precision and recall by COCO's rules of one pose an image: found [N, K, 2 or more], in pixels; scores [N]."""
    limits = np.array(list(SIZES.values()))
    said = found[..., :2].astype(np.float64)
    sides = said.max(1) - said.min(1)
    other_size = outside(sides[:, 0] * sides[:, 1], limits)
    unknown = ~np.any(figures.known, axis=1, keepdims=True).T
    ignored = unknown | outside(figures.area, limits)
    overlaps = similarity(found, figures, sigmas)
    images = []
    for image, there in enumerate(figures.there):
        # Of one figure, or of none.
        rows = [image] if there else []
        own = ignored[:, rows]
        took, aside = take(overlaps[rows][None], own, np.zeros(len(rows), bool))
        aside |= ~took & other_size[:, image, None, None]
        images.append(Matched(scores[image : image + 1], took, aside, own))
    precision = np.full((len(THRESHOLDS), len(RECALLS), len(SIZES)), -1.0)
    recall = np.full((len(THRESHOLDS), len(SIZES)), -1.0)
    for size in range(len(SIZES)):
        if objects := sum(int((~image.ignored[size]).sum()) for image in images):
            precision[..., size], recall[:, size] = curve(images, size, 1, objects)
    return PoseCurves(precision, recall)


# --- on the device


def measure_poses(
    found: jax.Array,
    true: jax.Array,
    *,
    known: jax.Array,
    lengths: jax.Array,
    fraction: float | jax.Array,
    valid: jax.Array,
    losses: jax.Array,
    detail: bool,
) -> dict[str, jax.Array]:
    """The sums of one batch; counts are exact int32.

    found, true: [B, K, 2] in pixels. known, bool [B, K]: joints whose place is known. lengths [B]: of which `fraction`
    is how far a joint that counts as found may be from the true one; where one is not above 0, no joint of its image
    counts. valid [B]: False for padding, which adds nothing, whatever it holds. losses [B]. detail: also by joint.
    """
    valid = valid.astype(bool)
    known = known & valid[:, None]
    away = jnp.sqrt(jnp.square(found - true).sum(-1))
    counted = known & (lengths > 0)[:, None]
    right = counted & (away <= fraction * lengths[:, None])
    sums = {
        "count": jnp.sum(valid, dtype=jnp.int32),
        "loss": jnp.sum(jnp.where(valid, losses.astype(jnp.float32), 0.0)),
        "known": jnp.sum(known, dtype=jnp.int32),
        "away": jnp.sum(jnp.where(known, away, 0.0)),
        "counted": jnp.sum(counted, dtype=jnp.int32),
        "right": jnp.sum(right, dtype=jnp.int32),
    }
    if not detail:
        return sums
    by_joint = {"joint_counted": counted, "joint_right": right}
    return sums | {name: jnp.sum(which, axis=0, dtype=jnp.int32) for name, which in by_joint.items()}


def pose_specifications(*, of: str, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured of poses, the most important first. of: the length and fraction of PCK, in words, such as "0.2
    of the box". loss_unit: the loss's own (`Loss.unit`)."""
    shares = (
        ("mean_ap", "mean OKS-AP", "found"),
        ("ap50", "OKS-AP at 0.5", "found"),
        ("ap75", "OKS-AP at 0.75", "found"),
        ("mean_recall", "mean OKS recall", "found"),
        ("mean_oks", "mean OKS", "found"),
        ("pck", f"PCK at {of}", "right"),
    )
    return (
        *(
            Specification(name=name, label=label, total=total, unit="share", higher_is_better=True, printed=".2%")
            for name, label, total in shares
        ),
        Specification(
            name="mean_error",
            label="mean distance of joints",
            total="away",
            unit="pixels",
            higher_is_better=False,
            printed=".2f",
        ),
        Specification(name="loss", total="loss", unit=loss_unit, higher_is_better=False, printed=".4f"),
    )


def summarize_poses(sums: Mapping[str, Any], *, sigmas: Sequence[float]) -> dict[str, Any]:
    """What the `sums` of a whole part mean: count (images), loss (their mean), pck, the share of counted joints that
    are found, and mean_error, the mean distance of known joints in pixels; by joint per_class_pck and per_class_joints.

    With what was found in each image (found [N, K, 3], x, y and score; pose_score [N]; true [N, K, 3]; box [N, 5], the
    figure's and whether there is one) also mean_ap (over OKS 0.5 to 0.95), ap50, ap75, mean_recall, and mean_oks, over
    images with known joints; ap_by_size, of medium and large figures. NaN where there is nothing to be found. Raises
    DataError if no example was measured.
    """
    totals = {name: np.asarray(value) for name, value in sums.items()}
    count = int(totals["count"])
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    summary: dict[str, Any] = {
        "count": count,
        "loss": float(totals["loss"]) / count,
        "pck": _share(totals["right"], totals["counted"]),
        "mean_error": _share(totals["away"], totals["known"]),
    }
    if "joint_right" in totals:
        right, counted = totals["joint_right"], totals["joint_counted"]
        shares = [_share(*pair) for pair in zip(right, counted, strict=True)]
        summary["per_class_pck"] = [None if np.isnan(share) else share for share in shares]
        summary["per_class_joints"] = counted.tolist()
    if "found" not in totals:
        return summary
    box = totals["box"]
    figures = Figures(joints=totals["true"], boxes=box[:, :4], there=box[:, 4] > 0)
    found = totals["found"]
    made = pose_curves(found, totals["pose_score"], figures, sigmas)
    known = figures.there & np.any(figures.known, axis=1)
    overlaps = similarity(found, figures, sigmas)[known]
    means = {"mean_ap": made.ap(), "ap50": made.ap(threshold=0.5), "ap75": made.ap(threshold=0.75)}
    means |= {"mean_recall": made.ar(), "mean_oks": float(overlaps.mean()) if overlaps.size else None}
    return {
        **{name: float("nan") if value is None else value for name, value in means.items()},
        **summary,
        "ap_by_size": [made.ap(size=size) for size in SIZES if size != "all"],
    }


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")
