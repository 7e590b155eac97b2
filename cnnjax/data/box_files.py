"""Image files with boxes: what their annotations say, which of those are broken, and boxes as the image is cut out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data import packed_masks
from cnnjax.data.encoded import BROKEN, decodable, naming, taken
from cnnjax.data.entries import Entry
from cnnjax.data.folder import ImageFiles
from cnnjax.data.image_form import Region
from cnnjax.data.segments import Segments
from cnnjax.data.store import Store, stamp
from cnnjax.errors import DataError

SLACK = 0.5
"""Pixels by which a box may reach beyond its image, for what was rounded; it is clipped."""
INSIDE = 0.1
"""The share of a box that must lie in the region that becomes the example, as in augmentation."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is said of one image. image: its name in the store. size: (height, width) that it says the image has.

    boxes: float32 [n, 4], corners in pixels of the file. labels: int32 [n]. crowd: bool [n], boxes around many objects.
    problems: what is wrong with it, a sentence for each entry. segments: the masks of the boxes' objects, where they
    are read.
    """

    image: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    problems: tuple[str, ...] = ()
    segments: tuple[Segments, ...] = ()


@dataclass(frozen=True)
class Entries:
    """The boxes of one image while they are read: each is looked at, and what is wrong with it noted.

    size: (height, width). classes: the id of each name. where: how its annotation is named to the user.
    """

    image: str
    size: tuple[int, int]
    classes: Mapping[Any, int]
    where: str
    rows: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    segments: list[Segments] = field(default_factory=list)

    def add(
        self,
        entry: str,
        name: Any,
        corners: Sequence[float],
        *,
        crowd: bool = False,
        segments: Segments | None = None,
    ) -> None:
        """A box by its corners, of the class of that name. entry: what it is called in the annotation. segments: the
        mask of its object, of all boxes or of none."""
        height, width = self.size
        left, top, right, bottom = corners
        said = f"box {', '.join(f'{side:g}' for side in corners)}"
        if name not in self.classes:
            known = ", ".join(map(str, list(self.classes)[:20]))
            self.wrong(entry, f"its class {name!r} is none of those known: {known}")
        elif not np.isfinite(corners).all():
            self.wrong(entry, f"its {said} are no numbers")
        elif not (left < right and top < bottom):
            self.wrong(entry, f"its {said} has no area: x_min < x_max and y_min < y_max must hold")
        elif min(left, top) < -SLACK or right > width + SLACK or bottom > height + SLACK:
            self.wrong(entry, f"its {said} reaches outside of the image of {width}x{height}")
        else:
            self.rows.append((max(left, 0), max(top, 0), min(right, width), min(bottom, height)))
            self.labels.append(self.classes[name])
            self.crowd.append(crowd)
            if segments is not None:
                self.segments.append(segments)

    def wrong(self, entry: str, why: str) -> None:
        """Note what is wrong with an entry."""
        self.problems.append(f"{self.where}: {entry}: {why}")

    def made(self) -> Annotation:
        """All of them."""
        return Annotation(
            self.image,
            self.size,
            np.array(self.rows, np.float32).reshape(-1, 4),
            np.array(self.labels, np.int32),
            np.array(self.crowd, bool),
            tuple(self.problems),
            tuple(self.segments),
        )


@dataclass(frozen=True, eq=False)
class BoxedFiles(ImageFiles):
    """Image files with boxes. annotations: of each. most: rows that every example has. crowds: whether `box_crowd` is
    an entry, True for boxes around many objects. masks: whether `box_mask` is one."""

    annotations: tuple[Annotation, ...]
    most: int
    crowds: bool
    masks: bool = False

    @property
    def decoded_entries(self) -> Mapping[str, Entry]:
        rows = {
            "boxes": Entry((self.most, 4), "float32", "boxes"),
            "box_valid": Entry((self.most,), "bool", "value"),
            "box_label": Entry((self.most,), "int32", "value"),
        }
        crowd = {"box_crowd": Entry((self.most,), "bool", "value")} if self.crowds else {}
        size = (*self.image_shape[:2], packed_masks.layers(self.most))
        masks = {"box_mask": Entry(size, "uint8", "masks")} if self.masks else {}
        return {**super().decoded_entries, **rows, **crowd, **masks}

    def decoded_example(
        self, index: int, data: bytes, region: Region, names: Collection[str]
    ) -> Mapping[str, np.ndarray]:
        example = super().decoded_example(index, data, region, names)
        if not {"boxes", "box_valid", "box_label", "box_crowd", "box_mask"} & set(names):
            return example
        own = self.annotations[index]
        with naming(self.shown(index)):
            if own.size != region.shape:
                (height, width), (said_height, said_width) = region.shape, own.size
                raise DataError(
                    f"it is {width}x{height}, its annotation says {said_width}x{said_height}: its boxes would be off; "
                    "mend one of them (an image that its EXIF tag turns has the size that it is shown at)"
                )
        boxes, kept = cut_out(own.boxes, region)
        made: dict[str, np.ndarray] = {
            name: np.zeros(entry.shape, entry.dtype) for name, entry in self.decoded_entries.items() if name != "image"
        }
        count = len(kept)
        made["boxes"][:count], made["box_valid"][:count], made["box_label"][:count] = boxes, True, own.labels[kept]
        if self.crowds:
            made["box_crowd"][:count] = own.crowd[kept]
        if "box_mask" in names:
            masks = np.zeros((self.most, *made["box_mask"].shape[:2]), bool)
            for row, number in enumerate(kept):
                masks[row] = own.segments[number].drawn(region)
            made["box_mask"] = packed_masks.packed(masks)
        return {**example, **made}

    def take(self, indices: np.ndarray) -> BoxedFiles:
        names, annotations = ([held[index] for index in indices] for held in (self.names, self.annotations))
        return replace(self, names=tuple(names), annotations=tuple(annotations), in_memory=taken(self, indices))

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any file's content, name or place in the order, with its boxes, and with
        the classes."""
        total = hashlib.sha256(f"{super().fingerprint} {self.most} {self.crowds}".encode())
        for own in self.annotations:
            for array in (own.boxes, own.labels, own.crowd):
                total.update(b"\0%d\0" % len(array))
                total.update(np.ascontiguousarray(array).data)
            for number, each in enumerate(own.segments):
                for array in each.arrays:
                    total.update(b"\0%d %d\0" % (number, len(array)))
                    total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()[:12]


def read_of(store: Store, names: Iterable[str]) -> dict[Path, tuple[int, int]]:
    """What says which examples there are: the store's lists, and those files of it, as they are now."""
    own = {store.root / name: stamp(store.root / name) for name in names} if store.root.is_dir() else {}
    return {**store.listed, **own}


def cut_out(boxes: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """What of boxes [n, 4] in pixels of the file is in the region, in pixels of the example, and which they are.

    A box of which less than `INSIDE` is in it is left out.
    """
    top, left, tall, wide = region.box
    height, width = (tall, wide) if region.form.size is None else region.form.size
    corner, whole = np.array([left, top] * 2, np.float64), np.array([width, height] * 2, np.float64)
    moved = (boxes - corner) * (whole / np.array([wide, tall] * 2, np.float64))
    inside = np.clip(moved, 0, whole)
    areas = [(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (inside, moved)]
    rounded = inside.astype(np.float32)
    there = (areas[0] >= INSIDE * areas[1]) & (rounded[:, :2] < rounded[:, 2:]).all(1)
    kept = np.flatnonzero(there)
    return rounded[kept], kept


def boxed_parts(train: BoxedFiles, test: BoxedFiles, policy: Any) -> dict[str, Any]:
    """`train`, `test` and `skipped` of a Dataset, by `on_broken`: without images whose annotation is broken, or that
    cannot be decoded, where the policy is "skip".

    Raises DataError that names file and entry where the policy is "error".
    """
    parts, skipped = {}, {}
    problems = [problem for part in (train, test) for own in part.annotations for problem in own.problems]
    for name, part in (("train", train), ("test", test)):
        broken = [index for index, own in enumerate(part.annotations) if own.problems]
        skipped[name] = len(broken)
        parts[name] = part.take(np.setdiff1d(np.arange(len(part)), broken)) if broken else part
        if policy == "skip" and len(broken) == len(part):
            why = part.annotations[0].problems[0] if broken else "it has none"
            raise DataError(f"no image of the {name} part is whole: {why}")
    if problems and policy == "error":
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}; {BROKEN}")
    if problems:
        images = sum(skipped.values())
        total = f"{len(train) + len(test)} images"
        warnings.warn(f"{images} of {total} have a broken annotation and are left out; {problems[0]}", stacklevel=3)
    found = decodable(parts["train"], parts["test"], policy)
    undecoded = found.pop("skipped")
    both = {name: count + undecoded.get(name, 0) for name, count in skipped.items()}
    return found | {"skipped": {name: count for name, count in both.items() if count}}
