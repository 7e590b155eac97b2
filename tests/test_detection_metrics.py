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


def by_pycocotools(found: Found, true: Truth, classes: int, *, masks=None):
    """(precision, recall, the twelve numbers) of the same by the reference; masks: of both, bool [N, D or M, H, W]."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    from pycocotools.mask import encode

    def rows(boxes):
        return [float(side) for side in (*boxes[:2], *(boxes[2:] - boxes[:2]))]

    def segmentation(part, image, row):
        return {} if masks is None else {"segmentation": encode(np.asfortranarray(masks[part][image, row], np.uint8))}

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
                **segmentation(1, image, row),
            }
        )
    for image, row in np.argwhere(found.valid):
        results.append(
            {
                "image_id": int(image),
                "category_id": int(found.labels[image, row]),
                **({} if masks else {"bbox": rows(found.boxes[image, row])}),
                "score": float(found.scores[image, row]),
                **segmentation(0, image, row),
            }
        )
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image, "height": 60, "width": 50} for image in range(len(found.boxes))],
            "annotations": truths,
            "categories": [{"id": label} for label in range(classes)],
        }
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "segm" if masks else "bbox")
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


def random_masks(seed: int):
    """Found and true masks, bool [N, D, 60, 50] and [N, M, 60, 50]: ellipses, turned, some of them nearly true ones and
    some without a pixel, and what is said of them. Of all sizes but large."""
    rng = np.random.default_rng(seed)
    images, most, per, classes = 8, 6, 15, 2
    y, x = np.mgrid[:60, :50] + 0.5

    def drawn(fields):
        """Of middles, half axes and angles [5]."""
        down, across, turn = y - fields[0], x - fields[1], fields[4]
        along, beside = across * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - across * np.sin(turn)
        return (along / fields[2]) ** 2 + (beside / fields[3]) ** 2 < 1

    def some(count):
        return rng.uniform([5, 5, 2, 2, 0], [55, 45, 28, 20, 3], (images, count, 5))

    own = some(most)
    chosen = rng.integers(0, most, (images, per))
    near = np.take_along_axis(own, chosen[..., None], 1) + rng.normal(0, [1, 1, 1, 1, 0.1], (images, per, 5))
    said = np.where(rng.random((images, per, 1)) < 0.7, near, some(per))
    true, found = (np.array([[drawn(fields) for fields in row] for row in held]) for held in (own, said))
    found[:, 0] = False
    labels = rng.integers(0, classes, (images, most))
    boxes = np.zeros((images, per, 4))
    shared = np.einsum("ndhw,nmhw->ndm", found.astype(float), true.astype(float))
    return (
        Found(
            boxes=boxes,
            scores=rng.random((images, per)).round(1),
            labels=np.take_along_axis(labels, chosen, 1),
            valid=rng.random((images, per)) < 0.9,
            areas=found.sum((2, 3)),
            shared=shared,
        ),
        Truth(
            boxes=np.zeros((images, most, 4)),
            labels=labels,
            valid=rng.random((images, most)) < 0.8,
            crowd=rng.random((images, most)) < 0.15,
            areas=true.sum((2, 3)),
        ),
        (found, true),
    )


@pytest.mark.parametrize("seed", range(2))
def test_masks_have_the_numbers_of_pycocotools(seed):
    found, true, masks = random_masks(seed)
    precision, recall, stats = by_pycocotools(found, true, 2, masks=masks)
    made = curves(found, true, classes=2)
    np.testing.assert_allclose(made.precision, precision, atol=1e-12)
    np.testing.assert_allclose(made.recall, recall, atol=1e-12)
    assert 0.1 < stats[0] < 0.9
    assert made.ap() == pytest.approx(stats[0], abs=1e-12)
    sums = {"count": 8, "loss": 0.0, "shared": found.shared, "found_areas": found.areas, "true_areas": true.areas}
    label, there = np.where(found.valid, found.labels, -1.0), np.where(true.valid, true.labels, -1.0)
    sums["found"] = np.concatenate([found.boxes, found.scores[..., None], label[..., None]], -1)
    sums["true"] = np.concatenate([there[..., None], true.boxes, true.crowd[..., None]], -1)
    told = summarize_detections(sums, classes=2)
    assert [told[name] for name in ("mask_ap", "mask_ap50", "mask_ap75")] == pytest.approx(stats[:3], abs=1e-12)
    assert told["mask_recall"] == pytest.approx(stats[8], abs=1e-12)
    assert told["mask_ap_by_size"] == [made.ap(size=size) for size in ("small", "medium", "large")]
    assert told["per_class_mask_ap"] == [made.ap(label=label) for label in range(2)]
