"""Average precision by COCO's rules: cases by hand, and every number against pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from cnnjax.errors import DataError
from cnnjax.metrics.detection import MOST, SIZES, Found, Truth, curves, summarize_detections


def found_of(*rows: tuple[float, float, int]) -> np.ndarray:
    """Detections (place, score, label) of one image."""
    return np.array([[[place, 0, place + 40, 40, score, label] for place, score, label in rows]], np.float32)


def test_a_case_by_hand():
    """Two objects of class 0 at 0 and 100; found at 0 (0.9), in the void (0.8), and at 110 (0.7), whose IoU is
    30 / 50 = 0.6: right up to a threshold of 0.6.

    There precision is 1 up to recall 0.5, then 2/3: (51 + 50 * 2/3) / 101. Above 0.6 it is 51 / 101.
    """
    true = np.array([[[0, 0, 0, 40, 40, 0], [0, 100, 0, 140, 40, 0], [-1, 0, 0, 0, 0, 0]]], np.float32)
    found = found_of((0, 0.9, 0), (300, 0.8, 0), (110, 0.7, 0), (0, 0.6, -1))
    made = summarize_detections({"count": 1, "loss": 2.0, "found": found, "true": true}, classes=2)
    below, above = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert made["ap50"] == pytest.approx(below)
    assert made["ap75"] == pytest.approx(above)
    assert made["mean_ap"] == pytest.approx((3 * below + 7 * above) / 10)
    assert made["mean_recall"] == pytest.approx((3 * 1 + 7 * 0.5) / 10)
    assert made["per_class_ap"] == [pytest.approx(made["mean_ap"]), None]
    assert made["per_class_objects"] == [2, 0]
    # 40 x 40 pixels is a medium size.
    assert made["ap_by_size"] == [None, pytest.approx(made["mean_ap"]), None]
    assert (made["count"], made["loss"]) == (1, 2.0)


def test_it_is_of_all_images_together():
    """A wrong detection in one image comes before a right one in another: no mean over images says so."""
    true = np.array([[[0, 0, 0, 40, 40, 0]], [[0, 0, 0, 40, 40, 0]]], np.float32)
    found = np.concatenate([found_of((300, 0.9, 0)), found_of((0, 0.5, 0))])
    made = summarize_detections({"count": 2, "loss": 0.0, "found": found, "true": true}, classes=1)
    assert made["ap50"] == pytest.approx(51 * 0.5 / 101)
    assert made["mean_recall"] == 0.5


def test_in_training_there_is_the_loss_alone():
    assert summarize_detections({"count": 4, "loss": 2.0}, classes=3) == {"count": 4, "loss": 0.5}
    with pytest.raises(DataError, match="no example was measured"):
        summarize_detections({"count": 0, "loss": 0.0}, classes=3)


def test_nothing_to_be_found():
    made = summarize_detections(
        {"count": 1, "loss": 0.0, "found": found_of((0, 0.9, 0)), "true": np.full((1, 1, 6), -1.0)}, classes=1
    )
    assert np.isnan(made["mean_ap"])
    assert made["per_class_ap"] == [None]


def random_set(seed: int, *, images: int = 12, classes: int = 3) -> tuple[Found, Truth]:
    """Objects of all sizes, some crowds, areas that are not the boxes'; detections near them, twice, or anywhere, of
    equal scores too, more than ten in a class and image."""
    rng = np.random.default_rng(seed)
    most, per = 8, 40
    low = rng.uniform(0, 200, (images, most, 2))
    true = np.concatenate([low, low + np.exp(rng.uniform(2, 5, (images, most, 2)))], -1).round(1)
    labels, valid = rng.integers(0, classes, (images, most)), rng.random((images, most)) < 0.7
    valid[0] = False
    sides = true[..., 2:] - true[..., :2]
    areas = sides.prod(-1) * rng.uniform(0.5, 1, (images, most))
    chosen = rng.integers(0, most, (images, per))
    near = np.take_along_axis(true, chosen[..., None], 1) + rng.normal(0, 3, (images, per, 4))
    low = rng.uniform(0, 200, (images, per, 2))
    anywhere = np.concatenate([low, low + rng.uniform(5, 90, (images, per, 2))], -1)
    is_near = rng.random((images, per)) < 0.6
    boxes = np.where(is_near[..., None], near, anywhere)
    boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 1)
    # Some exactly those of objects, and equal among themselves.
    boxes[:, :6] = np.take_along_axis(true, chosen[:, :6, None], 1)
    own = np.where(
        rng.random((images, per)) < 0.8, np.take_along_axis(labels, chosen, 1), rng.integers(0, classes, (images, per))
    )
    found = Found(
        boxes=boxes, scores=rng.random((images, per)).round(1), labels=own, valid=rng.random((images, per)) < 0.9
    )
    crowd = rng.random((images, most)) < 0.15
    return found, Truth(boxes=true, labels=labels, valid=valid, crowd=crowd, areas=areas)


def by_pycocotools(found: Found, true: Truth, classes: int):
    """(precision, recall, the twelve numbers) of the same by the reference."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes):
        return [float(side) for side in (*boxes[:2], *(boxes[2:] - boxes[:2]))]

    truths, results = [], []
    for image, row in np.argwhere(true.valid):
        truths.append(
            {
                "id": len(truths) + 1,
                "image_id": int(image),
                "category_id": int(true.labels[image, row]),
                "bbox": rows(true.boxes[image, row]),
                "area": float(true.areas[image, row]),
                "iscrowd": int(true.crowd[image, row]),
            }
        )
    for image, row in np.argwhere(found.valid):
        results.append(
            {
                "image_id": int(image),
                "category_id": int(found.labels[image, row]),
                "bbox": rows(found.boxes[image, row]),
                "score": float(found.scores[image, row]),
            }
        )
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image} for image in range(len(found.boxes))],
            "annotations": truths,
            "categories": [{"id": label} for label in range(classes)],
        }
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.eval["precision"], evaluation.eval["recall"], evaluation.stats


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_that_of_pycocotools(seed):
    found, true = random_set(seed)
    precision, recall, stats = by_pycocotools(found, true, 3)
    made = curves(found, true, classes=3)
    np.testing.assert_allclose(made.precision, precision, atol=1e-12)
    np.testing.assert_allclose(made.recall, recall, atol=1e-12)
    told = [made.ap(), made.ap(threshold=0.5), made.ap(threshold=0.75)]
    told += [made.ap(size=size) for size in SIZES if size != "all"]
    told += [made.ar(most=most) for most in MOST] + [made.ar(size=size) for size in SIZES if size != "all"]
    np.testing.assert_allclose([-1 if each is None else each for each in told], stats, atol=1e-12)
    assert 0.1 < told[0] < 0.9
