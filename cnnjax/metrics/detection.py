"""Average precision by COCO's rules (Lin et al. 2014, arXiv:1405.0312; cocodataset.org/#detection-eval), in NumPy.

It is of all images of a part together: detections of a class are ranked over all of them, so that no sum over batches
has it. What it needs of an image are its strongest detections and its true boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cnnjax.errors import DataError
from cnnjax.records.resolved import Specification

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Of IoU, from which on a detection is right."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""At which precision is averaged."""
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas of objects in pixels, both ends included."""
MOST = (1, 10, 100)
"""Detections of an image that count, the strongest of each class."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Detections in N images: boxes [N, D, 4] in pixels, scores [N, D], labels [N, D], valid [N, D].

    areas [N, D], in pixels; None for those of the boxes. shared [N, D, M]: how much of its area each has in common with
    each object, of masks; None for that of the boxes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    areas: np.ndarray | None = None
    shared: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Objects in N images: boxes [N, M, 4] in pixels, labels [N, M], valid [N, M].

    crowd [N, M]: boxes around many objects: they are not to be found, and any number of detections inside is not wrong.
    areas [N, M], in pixels, by which objects are small or large; None for those of the boxes.
    """

    boxes: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray | None = None


@dataclass(frozen=True)
class Curves:
    """What COCO's evaluation accumulates; -1 where a class has no object of a size.

    precision: [T, R, K, A, M], at each threshold, recall, class, size and number of detections. recall: [T, K, A, M].
    objects: [K, A], that were to be found.
    """

    precision: np.ndarray
    recall: np.ndarray
    objects: np.ndarray

    def ap(self, *, threshold: float | None = None, size: str = "all", label: int | None = None) -> float | None:
        """Mean over thresholds (or at one), recalls and classes (or of one); None where there is no such object."""
        chosen = self.precision[self._at(threshold), :, :, list(SIZES).index(size), -1]
        return _mean(chosen if label is None else chosen[..., label])

    def ar(self, *, most: int = MOST[-1], size: str = "all") -> float | None:
        """Mean of the greatest recalls over thresholds and classes, with so many detections an image."""
        return _mean(self.recall[:, :, list(SIZES).index(size), MOST.index(most)])

    @staticmethod
    def _at(threshold: float | None) -> np.ndarray | slice:
        return slice(None) if threshold is None else np.isclose(THRESHOLDS, threshold)


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def curves(found: Found, true: Truth, *, classes: int) -> Curves:
    """Precision and recall of K = `classes` classes by COCO's rules.

    In each image and class, detections, the strongest first, take the object that they overlap most and that none has
    taken, from the threshold on; objects that are crowds or not of the size come last, and what takes one of them, or
    takes none and is itself not of the size, is neither right nor wrong.
    """
    shape = (len(THRESHOLDS), classes, len(SIZES), len(MOST))
    precision, recall = np.full((shape[0], len(RECALLS), *shape[1:]), -1.0), np.full(shape, -1.0)
    objects = np.zeros(shape[1:3], np.int64)
    for label in range(classes):
        images = list(_matched(found, true, label))
        for size in range(len(SIZES)):
            objects[label, size] = sum(int((~image.ignored[size]).sum()) for image in images)
            for number, most in enumerate(MOST):
                if objects[label, size]:
                    made = curve(images, size, most, objects[label, size])
                    precision[:, :, label, size, number], recall[:, label, size, number] = made
    return Curves(precision, recall, objects)


@dataclass(frozen=True)
class Matched:
    """One image and class: scores [D], strongest first; for each size, threshold and detection whether it took an
    object [A, T, D] and whether it does not count [A, T, D]; for each size and object whether it does not [A, G]."""

    scores: np.ndarray
    took: np.ndarray
    aside: np.ndarray
    ignored: np.ndarray


def _matched(found: Found, true: Truth, label: int) -> Iterator[Matched]:
    """Of each image that has a detection or an object of the class."""
    limits = np.array(list(SIZES.values()))
    for image in range(len(found.boxes)):
        detected = np.flatnonzero(found.valid[image] & (found.labels[image] == label))
        there = np.flatnonzero(true.valid[image] & (true.labels[image] == label))
        if not len(detected) and not len(there):
            continue
        scores = found.scores[image][detected]
        order = np.argsort(-scores, kind="stable")[: MOST[-1]]
        detected, scores = detected[order], scores[order]
        boxes, objects = found.boxes[image][detected].astype(np.float64), true.boxes[image][there].astype(np.float64)
        crowd = true.crowd[image][there]
        areas = _areas(objects) if true.areas is None else true.areas[image][there].astype(np.float64)
        own = _areas(boxes) if found.areas is None else found.areas[image][detected].astype(np.float64)
        if found.shared is None:
            shared, whole = _shared(boxes, objects), _areas(objects)
        else:
            shared, whole = found.shared[image][np.ix_(detected, there)].astype(np.float64), areas
        ignored = crowd[None] | outside(areas, limits)
        took, aside = take(_overlaps(shared, own, whole, crowd), ignored, crowd)
        aside |= ~took & outside(own, limits)[:, None]
        yield Matched(scores, took, aside, ignored)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def outside(areas: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Whether they are of another size, [A, n]."""
    return (areas[None] < limits[:, :1]) | (areas[None] > limits[:, 1:])


def _shared(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """The areas [D, G] that boxes have in common."""
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    sides = np.maximum(np.minimum(boxes[:, None, 2:], objects[None, :, 2:]) - low, 0)
    return sides[..., 0] * sides[..., 1]


def _overlaps(shared: np.ndarray, own: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU [D, G]; with a crowd the share of the detection in it. shared: [D, G]; own, others: areas [D], [G]."""
    union = np.where(crowd[None], own[:, None], own[:, None] + others[None] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def take(overlaps: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which detections take an object, and which one that does not count: bool [A, T, D] each.

    overlaps: [D, G]. ignored: [A, G]. crowd: [G], which may be taken any number of times. Of equal overlaps the last
    object is taken.
    """
    (detections, objects), sizes = overlaps.shape, len(ignored)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[None, :, None]
    took, aside = (np.zeros((sizes, len(THRESHOLDS), detections), bool) for _ in range(2))
    free = np.ones((sizes, len(THRESHOLDS), objects), bool)
    counts = ~ignored[:, None]
    for row in np.flatnonzero(overlaps.max(axis=1, initial=0.0) >= least.min()):
        could = free & (overlaps[row] >= least)
        # Those that count come first, whatever the others' overlap.
        first = could & counts
        chosen = np.where(first.any(-1, keepdims=True), first, could)
        ranked = np.where(chosen, overlaps[row], -1.0)
        best = objects - 1 - ranked[..., ::-1].argmax(-1)
        taken = chosen.any(-1)
        took[:, :, row] = taken
        aside[:, :, row] = taken & np.take_along_axis(ignored, best.reshape(sizes, -1), 1).reshape(best.shape)
        one = (np.arange(objects) == best[..., None]) & taken[..., None]
        free &= ~one | crowd
    return took, aside


def curve(images: Sequence[Matched], size: int, most: int, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision at RECALLS [T, R] and the greatest recall [T] of one class, size and number of detections."""
    scores = np.concatenate([image.scores[:most] for image in images])
    order = np.argsort(-scores, kind="stable")
    took, aside = (
        np.concatenate([getattr(image, name)[size, :, :most] for image in images], axis=1)[:, order]
        for name in ("took", "aside")
    )
    right, wrong = (np.cumsum(x & ~aside, axis=1, dtype=np.float64) for x in (took, ~took))
    if not scores.size:
        return np.zeros((len(THRESHOLDS), len(RECALLS))), np.zeros(len(THRESHOLDS))
    recall, precision = right / objects, right / (right + wrong + np.spacing(1))
    # Of each recall the best precision at it or at any greater one.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    at = [np.searchsorted(row, RECALLS, side="left") for row in recall]
    padded = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)
    return np.stack([row[where] for row, where in zip(padded, at, strict=True)]), recall[:, -1]


def detection_specifications(*, masks: bool = False, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured of detections, the most important first; masks: and of their masks. loss_unit: the loss's own
    (`Loss.unit`)."""
    of_masks = (
        ("mask_ap", "mask AP"),
        ("mask_ap50", "mask AP at 0.5"),
        ("mask_ap75", "mask AP at 0.75"),
        ("mask_recall", "mask recall"),
    )
    shares = (
        *(of_masks if masks else ()),
        ("mean_ap", "mean AP"),
        ("ap50", "AP at 0.5"),
        ("ap75", "AP at 0.75"),
        ("mean_recall", "mean recall"),
    )
    return (
        *(
            Specification(name=name, label=label, total="found", unit="share", higher_is_better=True, printed=".2%")
            for name, label in shares
        ),
        Specification(name="loss", total="loss", unit=loss_unit, higher_is_better=False, printed=".4f"),
    )


def summarize_detections(sums: Mapping[str, Any], *, classes: int) -> dict[str, Any]:
    """What the `sums` of a whole part mean: count (images) and loss (their mean); with what was found in each image,
    mean_ap (over IoU 0.5 to 0.95), ap50, ap75 and mean_recall (at 100 detections), means over the classes that have
    objects; per_class_ap and per_class_ap50, None for a class without objects; per_class_objects; ap_by_size, of small,
    medium and large ones. With what masks share, the same of them: mask_ap, mask_ap50, mask_ap75, mask_recall,
    per_class_mask_ap and mask_ap_by_size; masks are small, medium or large by their own pixels.

    found: [N, D, 6], boxes, score and label, whose label is below 0 in rows that are none. true: [N, M, 6], label,
    below 0 in rows that are none, box, and whether it is a crowd. shared: [N, D, M], pixels in common, found_areas
    [N, D], true_areas [N, M]. NaN where there is no object. Raises DataError if no
    example was measured.
    """
    count = int(np.asarray(sums["count"]))
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    summary: dict[str, Any] = {"count": count, "loss": float(np.asarray(sums["loss"])) / count}
    if "found" not in sums:
        return summary
    found, true = _read(np.asarray(sums["found"]), np.asarray(sums["true"]))
    made = curves(found, true, classes=classes)
    if "shared" in sums:
        shared, areas, true_areas = (np.asarray(sums[name]) for name in ("shared", "found_areas", "true_areas"))
        masks = curves(replace(found, shared=shared, areas=areas), replace(true, areas=true_areas), classes=classes)
        summary |= {
            **_means(masks, "mask_ap", "mask_ap50", "mask_ap75", "mask_recall"),
            "per_class_mask_ap": [masks.ap(label=label) for label in range(classes)],
            "mask_ap_by_size": [masks.ap(size=size) for size in SIZES if size != "all"],
        }
    return {
        **summary,
        **_means(made, "mean_ap", "ap50", "ap75", "mean_recall"),
        "per_class_ap": [made.ap(label=label) for label in range(classes)],
        "per_class_ap50": [made.ap(threshold=0.5, label=label) for label in range(classes)],
        "per_class_objects": made.objects[:, 0].tolist(),
        "ap_by_size": [made.ap(size=size) for size in SIZES if size != "all"],
    }


def _means(made: Curves, *names: str) -> dict[str, float]:
    """AP, AP at 0.5 and at 0.75 and recall by these names; NaN where there is no object."""
    means = (made.ap(), made.ap(threshold=0.5), made.ap(threshold=0.75), made.ar())
    return {name: float("nan") if value is None else value for name, value in zip(names, means, strict=True)}


def _read(found: np.ndarray, true: np.ndarray) -> tuple[Found, Truth]:
    labels, true_labels = found[..., 5].astype(np.int64), true[..., 0].astype(np.int64)
    return (
        Found(boxes=found[..., :4], scores=found[..., 4], labels=labels, valid=labels >= 0),
        Truth(
            boxes=true[..., 1:5],
            labels=true_labels,
            valid=true_labels >= 0,
            crowd=true[..., 5] > 0,
        ),
    )
