"""Seeded images of one stick figure each, with its joints; no download."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.entries import padded_boxes
from cnnjax.data.examples import Examples
from cnnjax.data.shapes import BLOCK, box_of
from cnnjax.data.skeleton import Skeleton
from cnnjax.data.source import Data

SIDES = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
JOINTS = ("head", *(f"{side} {joint}" for joint in SIDES for side in ("left", "right")))
"""The head, then left and right of each."""

SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE = PAIRS = tuple((first, first + 1) for first in range(1, 13, 2))
CHAINS = ((SHOULDER, ELBOW), (ELBOW, WRIST), (HIP, KNEE), (KNEE, ANKLE), (SHOULDER, HIP))
LIMBS = (*(pair for chain in CHAINS for pair in zip(*chain, strict=True)), SHOULDER, HIP)
SKELETON = Skeleton(
    pairs=PAIRS,
    limbs=((0, SHOULDER[0]), (0, SHOULDER[1]), *LIMBS),
    # COCO's; for the head that of its ears.
    sigmas=(0.035, *(sigma for sigma in (0.079, 0.072, 0.062, 0.107, 0.087, 0.089) for _ in range(2))),
    torso=(SHOULDER[0], HIP[1]),
)

# Lengths as shares of a figure's height.
NECK, HEAD, SHOULDERS, TORSO, HIPS = 0.16, 0.08, 0.11, 0.3, 0.08
ARM, FOREARM, THIGH, SHIN = 0.17, 0.16, 0.24, 0.23
THICKNESS = 0.03
"""From the middle of a limb to its side."""


class StickFigures(Data):
    """`examples` + `test_examples` images [size, size, 3] of a figure that faces the viewer, made from `seed`.

    Its 13 joints are `keypoints` [13, 3], x and y in pixels and a visibility as of COCO: 2 where it is seen, 1 where
    something is in front of it (another limb, or a square), 0 where it is outside the image. Left is the figure's own:
    on the right of the image, unless limbs are crossed. `boxes` has one row, around what of the figure lies in the
    image, hidden or not. The limbs' angles, their order from back to front, the figure's height and place are random.

    height: least and greatest, head to feet if it stood straight, as shares of the image's side. hidden: the share of
    images with a square in front of a joint. contrast: greatest difference in brightness, of 0..1, between limbs and
    background. noise: standard deviation of each pixel's noise, of 0..1.

    size: pixels of an image's side.
    """

    size: int = Field(default=64, ge=16)
    height: tuple[float, float] = (0.6, 1.0)
    hidden: float = Field(default=0.5, ge=0, le=1)
    contrast: float = Field(default=0.4, gt=0, le=0.5)
    noise: float = Field(default=0.05, ge=0, le=1)
    examples: int = Field(default=1024, ge=1)
    test_examples: int = Field(default=256, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _heights(self) -> Self:
        least, most = self.height
        if not 0.2 <= least <= most <= 2:
            raise ValueError(f"height = {self.height}: give the least and the greatest, 0.2 to 2 of the image's side")
        return self

    def read(self) -> Dataset:
        train, test = (self._part(count, part) for part, count in enumerate((self.examples, self.test_examples)))
        return Dataset("stick_figures", train, test, classes=JOINTS, skeleton=SKELETON)

    def _part(self, count: int, part: int) -> Examples:
        images = np.empty((count, self.size, self.size, 3), np.uint8)
        joints = np.empty((count, len(JOINTS), 3), np.float32)
        boxes = np.empty((count, 1, 4), np.float32)
        for index in range(count):
            # Each image has its own randomness, so that more images leave the first as they are.
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 2 * index + part]))
            images[index], joints[index], boxes[index] = self._figure(generator)
        return Examples(images, keypoints=joints, **padded_boxes(list(boxes), most=1))

    def _figure(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, joints [13, 3] and box [4]."""
        size = self.size
        height = generator.uniform(*self.height) * size
        points = posed(generator, height, generator.uniform(0.3, 0.7, 2) * size)
        # The last two are the neck, which begins between the shoulders, and the head.
        ends = np.array([*LIMBS, (0, 0), (0, 0)])
        starts, stops = points[ends[:, 0]], points[ends[:, 1]]
        starts[-2] = points[list(SHOULDER)].mean(0)
        radius = np.full(len(ends), max(1.0, THICKNESS * height))
        radius[-1] = HEAD * height
        covered = distances(starts, stops, size) <= radius[:, None, None]
        depth = generator.permutation(len(ends))
        front = np.where(covered, depth[:, None, None], -1).max(0)
        box = box_of(front >= 0)
        side, shares = generator.choice((-1, 1)), generator.uniform(0.5, 1, len(ends) + 1)
        if generator.random() < self.hidden:
            front[_square(generator, points, size)] = len(ends)
        levels = side * np.append(shares[np.argsort(depth)], -shares[-1])
        brightness = self.contrast * np.where(front < 0, 0, levels[front])
        seen = [
            _visibility(point, front, [int(depth[row]) for row, pair in enumerate(ends) if joint in pair])
            for joint, point in enumerate(points)
        ]
        joints = np.concatenate([points, np.array(seen)[:, None]], 1).astype(np.float32)
        return self._picture(generator, brightness.astype(np.float32)), joints, box

    def _picture(self, generator: np.random.Generator, brightness: np.ndarray) -> np.ndarray:
        size, cells = self.size, -(-self.size // BLOCK)
        grain = generator.standard_normal((cells, cells, 3), np.float32).repeat(BLOCK, 0).repeat(BLOCK, 1)[:size, :size]
        fine = generator.standard_normal((size, size, 3), np.float32)
        tint = generator.uniform(0.4, 0.6, 3).astype(np.float32)
        image = tint + brightness[..., None] + self.noise * (grain + fine) / np.sqrt(2, dtype=np.float32)
        return (255 * image).clip(0, 255).round().astype(np.uint8)


def posed(generator: np.random.Generator, height: float, middle: np.ndarray) -> np.ndarray:
    """Joints [13, 2], x and y in pixels, of a figure of that height whose torso has its middle there."""
    tilt = np.deg2rad(generator.uniform(-25, 25))
    down, right = np.array([-np.sin(tilt), np.cos(tilt)]), np.array([np.cos(tilt), np.sin(tilt)])
    points = np.empty((len(JOINTS), 2))
    upper, lower = middle - TORSO / 2 * height * down, middle + TORSO / 2 * height * down
    points[0] = upper - NECK * height * down
    # The figure's left is on the right of the image.
    for side, outwards in enumerate((right, -right)):
        points[SHOULDER[side]] = upper + SHOULDERS * height * outwards
        points[HIP[side]] = lower + HIPS * height * outwards
        arm, leg = generator.uniform(-30, 160), generator.uniform(-20, 60)
        for joint, before, length, degrees in (
            (ELBOW, SHOULDER, ARM, arm),
            (WRIST, ELBOW, FOREARM, arm + generator.uniform(-120, 120)),
            (KNEE, HIP, THIGH, leg),
            (ANKLE, KNEE, SHIN, leg + generator.uniform(-70, 10)),
        ):
            angle = np.deg2rad(degrees)
            along = np.cos(angle) * down + np.sin(angle) * outwards
            points[joint[side]] = points[before[side]] + length * height * along
    return points


def distances(starts: np.ndarray, stops: np.ndarray, size: int) -> np.ndarray:
    """Of the middle of each pixel from each of N segments, float32 [N, size, size]; a segment may be a point."""
    (x, y), (along_x, along_y) = starts.T.astype(np.float32), (stops - starts).T.astype(np.float32)
    middles = np.arange(size, dtype=np.float32) + np.float32(0.5)
    from_x, from_y = (middles - x[:, None])[:, None, :], (middles - y[:, None])[:, :, None]
    length = along_x**2 + along_y**2
    scale_x, scale_y = (part / np.where(length > 0, length, 1) for part in (along_x, along_y))
    share = np.clip(from_x * scale_x[:, None, None] + from_y * scale_y[:, None, None], 0, 1)
    return np.hypot(from_x - share * along_x[:, None, None], from_y - share * along_y[:, None, None])


def _square(generator: np.random.Generator, points: np.ndarray, size: int) -> tuple[slice, slice]:
    """The rows and columns of a square that hides one of the points, a tenth to a quarter of the image wide."""
    side = max(2, round(generator.uniform(0.1, 0.25) * size))
    corner = points[generator.integers(len(points))] - generator.uniform(0, side, 2)
    left, top = (int(np.clip(start, 0, size - 1)) for start in corner)
    return slice(top, top + side), slice(left, left + side)


def _visibility(point: np.ndarray, front: np.ndarray, own: list[int]) -> int:
    """0 outside the image, 2 where one of its own limbs is in front of all, else 1."""
    x, y = np.floor(point).astype(int)
    if not (0 <= x < front.shape[1] and 0 <= y < front.shape[0]):
        return 0
    return 2 if front[y, x] in own else 1
