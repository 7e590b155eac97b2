"""Write the pictures of docs/tasks.md: what a run says of images that it was not trained on, beside what is there.

    python docs/task_pictures.py RUN docs/tasks/detection.png

The upper row has the boxes that the data have, the lower one those that the run finds. Of data whose images have other
than 1 or 3 channels each row has one image, of each class in turn, and each column a channel. Of poses the rows have
skeletons: above the joints whose place is known, below all that the run says.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import cnnjax
from cnnjax.data import Part
from cnnjax.tasks import Boxes, Pose, Poses

COUNT, ENLARGED = 6, 4


def true_boxes(values, classes: tuple[str, ...], size: tuple[int, int]) -> Boxes:
    """What the data say of the first examples, as what is found."""
    height, width = size
    boxes = values["boxes"] / np.array([width, height, width, height])
    labels, valid = values["box_label"], values["box_valid"]
    return Boxes(boxes=boxes, scores=valid.astype(float), labels=labels, valid=valid, classes=classes)


def true_poses(values, found: Poses) -> Poses:
    """What the data say of the joints whose place is known, as what is found."""
    known = np.where(values["keypoints"][..., 2:] > 0, 1.0, 0.0)
    joints = np.concatenate([values["keypoints"][..., :2], known], -1)
    return replace(found, joints=joints, scores=known.mean((1, 2)))


def bands(test: Part) -> np.ndarray:
    """The first image of each class, channel beside channel, uint8 [H, W]."""
    places = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)]
    rows = [np.moveaxis(image, -1, 0) for image in test.stacked(np.array(places))]
    framed = np.pad(np.array(rows), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
    whole = np.concatenate([np.concatenate(list(row), 1) for row in framed])
    return whole.repeat(ENLARGED, 0).repeat(ENLARGED, 1)


def main(run: str, out: str) -> None:
    trained = cnnjax.load(run)
    test = trained.experiment.data.load().test
    if test.image_shape[-1] not in (1, 3):
        Image.fromarray(bands(test)).save(out, optimize=True)
        return
    values = test.batch(np.arange(COUNT))
    found = trained.predict(values["image"])
    images = values["image"].repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    if isinstance(trained.task, Pose):
        rows = [said.overlay(images) for said in (true_poses(values, found), found)]
        _write(rows, out)
        return
    # Half as sure as can be, so that a picture is not full of guesses.
    sure = Boxes(
        boxes=found.boxes, scores=found.scores, labels=found.labels, valid=found.scores >= 0.5, classes=found.classes
    )
    if found.boxes.shape[1] == 1:
        sure = found
    true = true_boxes(values, trained.classes, values["image"].shape[1:3])
    _write([said.overlay(images, names=said is sure) for said in (true, sure)], out)


def _write(rows: list[np.ndarray], out: str) -> None:
    """The images of each row [N, H, W, 3] beside each other, the rows one below the other."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
