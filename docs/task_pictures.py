"""Write the pictures of docs/tasks.md: what a run says of images that it was not trained on, beside what is there.

    python docs/task_pictures.py RUN docs/tasks/detection.png

The upper row has the boxes that the data have, the lower one those that the run finds. Of captions each image has the
sentence that the run says below it. Of data whose images have other than 1 or 3 channels each row has one image, of
each class in turn, and each column a channel. Of poses the rows have skeletons: above the joints whose place is known,
below all that the run says. Of images from images the rows are what the network sees, what it makes and what is true;
of segmentation the masks of the data, and those that are found. Of a generator the upper two rows are images of the
data, the others are made, of the codes of seed 0: the first ones, none chosen. Of a variational autoencoder the first
row has images of the data, the second what it makes of them, and the others are made of codes of seed 0. Where noise is
to be taken away, it is drawn with seed 0 and added to images of the data. Of sound there are the spectrograms of the
first clip of each class, with the class, and what the run says below it.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

import cnnjax
from cnnjax import box_masks
from cnnjax.data import Part, packed_masks
from cnnjax.run.spectrograms import spectrograms
from cnnjax.tasks import Boxes, Generation, Masks, Pictures, Pose, Poses, Reconstruction, Sentences, Variational

COUNT, ENLARGED = 6, 4


def true_boxes(values, classes: tuple[str, ...], size: tuple[int, int]) -> Boxes:
    """What the data say of the first examples, as what is found."""
    height, width = size
    boxes = values["boxes"] / np.array([width, height, width, height])
    labels, valid = values["box_label"], values["box_valid"]
    parts = None
    if "box_mask" in values:
        masks = packed_masks.unpacked(values["box_mask"], boxes.shape[1])
        pairs = zip(masks, values["boxes"], strict=True)
        parts = np.array(
            [box_masks.within(jnp.asarray(own), jnp.asarray(at), size=56) for own, at in pairs], np.float32
        )
    return Boxes(boxes=boxes, scores=valid.astype(float), labels=labels, valid=valid, classes=classes, parts=parts)


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


def generated(trained: cnnjax.Trained, test: Part) -> np.ndarray:
    """Two rows of images that are there, and below a gap four of new ones, uint8 [H, W, C]."""
    columns, factor = 12, 4
    true = test.batch(np.arange(2 * columns))["image"] / trained.resolved.maximum
    rows = [_grid(images, columns) for images in (true, trained.sample(4 * columns, seed=0))]
    gap = np.ones((2, *rows[0].shape[1:]))
    whole = np.concatenate([rows[0], gap, rows[1]])
    return np.round(255 * whole).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)


def coded(trained: cnnjax.Trained, test: Part) -> np.ndarray:
    """A row of images that are there, one of what is made of them, below a gap two of new ones, uint8 [H, W, C]."""
    columns, factor = 12, 4
    images = test.batch(np.arange(columns))["image"]
    found: Any = trained.predict(images)
    made = trained.sample(2 * columns, seed=0)
    true, again, new = (_grid(each, columns) for each in (found.truth, found.outputs, made))
    whole = np.concatenate([true, again, np.ones((2, *true.shape[1:])), new])
    return np.round(255 * whole).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)


def heard(trained: cnnjax.Trained, test: Part) -> Image.Image:
    """The spectrogram of the first clip of each class, and below it the class and what the run says, with its share."""
    places = np.array([int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)])
    said: Any = trained.predict(test.batch(places)["image"])
    drawn = [Image.open(io.BytesIO(png)) for png in spectrograms(test.stacked(places))]
    (width, height), gap, line = drawn[0].size, 6, 14
    columns = 3
    down = -(-len(drawn) // columns)
    whole = Image.new("RGB", (columns * (width + gap) - gap, down * (height + 2 * line + gap) - gap), "white")
    for number, (tile, place, [(name, share)]) in enumerate(zip(drawn, places, said.top(1), strict=True)):
        left, top = number % columns * (width + gap), number // columns * (height + 2 * line + gap)
        whole.paste(tile, (left, top))
        lines = (f"is {trained.classes[test.labels[place]]}", f"said {name}, {share:.0%}")
        for row, text in enumerate(lines):
            ImageDraw.Draw(whole).text((left, top + height + row * line), text, fill="black")
    return whole


def without_noise(trained: cnnjax.Trained, images: np.ndarray) -> Pictures:
    """What a run makes of images [N, H, W, C] in 0..1 with the noise that it has learned from, drawn with seed 0."""
    keys = jax.random.split(jax.random.key(0), len(images))
    noisy = jax.vmap(trained.task.image)(jnp.asarray(images, jnp.float32), keys)
    answer = trained.answer(trained.variables, noisy * trained.resolved.maximum)
    return Pictures(np.asarray(answer["outputs"]), images, np.asarray(noisy))


def _grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [N, H, W, C], which the columns divide, as one, each in a grey frame."""
    images = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=0.4)
    count, height, width, channels = images.shape
    laid = images.reshape(count // columns, columns, height, width, channels).swapaxes(1, 2)
    return laid.reshape(count // columns * height, columns * width, channels)


def main(run: str, out: str) -> None:
    trained = cnnjax.load(run)
    test = trained.experiment.data.load().test
    if isinstance(trained.task, Generation):
        Image.fromarray(generated(trained, test).squeeze()).save(out, optimize=True)
        return
    if isinstance(trained.task, Variational):
        Image.fromarray(coded(trained, test).squeeze()).save(out, optimize=True)
        return
    if trained.resolved.sound is not None:
        heard(trained, test).save(out, optimize=True)
        return
    if test.image_shape[-1] not in (1, 3):
        Image.fromarray(bands(test)).save(out, optimize=True)
        return
    values = test.batch(np.arange(COUNT))
    found = trained.predict(values["image"])
    if isinstance(trained.task, Reconstruction) and trained.task.noise:
        found = without_noise(trained, values["image"] / trained.resolved.maximum)
    if isinstance(found, Pictures):
        _write([_pixels(each, found.truth.shape[2]) for each in (found.inputs, found.outputs, found.truth)], out)
        return
    if isinstance(found, Masks):
        truth = replace(found, logits=20 * np.eye(len(found.classes), dtype=np.float32)[values["mask"]])
        images = values["image"]
        _write([_pixels(said.overlay(images) / 255, images.shape[2]) for said in (truth, found)], out)
        return
    if isinstance(found, Sentences):
        rows = found.captioned(values["image"])
        Image.fromarray(np.concatenate(list(rows), 1)).save(out, optimize=True)
        return
    images = values["image"].repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    if isinstance(trained.task, Pose):
        rows = [said.overlay(images) for said in (true_poses(values, found), found)]
        _write(rows, out)
        return
    # Half as sure as can be, so that a picture is not full of guesses.
    sure = replace(found, valid=found.scores >= 0.5)
    if found.boxes.shape[1] == 1:
        sure = found
    true = true_boxes(values, trained.classes, values["image"].shape[1:3])
    _write([said.overlay(images, names=said is sure) for said in (true, sure)], out)


def _pixels(images: np.ndarray, width: int) -> np.ndarray:
    """Images [N, H, W, C] in 0..1 as uint8 [N, h, w, 3], each pixel a square, as large as those of `width`; framed."""
    factor = -(-96 // width) * width // images.shape[2]
    whole = np.round(255 * np.broadcast_to(images, (*images.shape[:3], 3)).clip(0, 1)).astype(np.uint8)
    whole = whole.repeat(factor, 1).repeat(factor, 2)
    return np.pad(whole, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)


def _write(rows: list[np.ndarray], out: str) -> None:
    """The images of each row [N, H, W, 3] beside each other, the rows one below the other."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
