"""What a data set holds, in numbers, and a few of its examples, chosen alike every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Encoded
from cnnjax.data.examples import Part, scale_of
from cnnjax.data.splits import Splits
from cnnjax.data.survey import Survey

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Files:
    """What decoding every image of a part found.

    sizes: (height, width) of the images of least, median and greatest area, as they are in their files; empty where
    none can be decoded. broken: why images cannot be decoded.
    """

    sizes: tuple[tuple[int, int], ...]
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """A set's numbers.

    counts: by part, the examples of each class; where labels are no class ids, of the part (one number). mean, std: of
    the training part with validation, per channel, of pixels in 0..1. targets: by part, (least, mean, greatest) of each
    number of labels that are no class ids; `classes` are then names of these, if there are as many.
    files: of parts that are encoded, by part. pixels: where masks' pixels have the classes, by part (with validation in
    the training part), how many have each class, then how many are ignored, where some may be.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    targets: Mapping[str, tuple[tuple[float, float, float], ...]]
    files: Mapping[str, Files]
    pixels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """Examples of each part."""
        return {part: sum(counts) for part, counts in self.counts.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data; classes as a list, for two may have the same name. Those of boxes or joints have names alone."""
        counted = self.pixels or {
            part: of for part, of in self.counts.items() if len(of) == len(self.classes) and part not in self.targets
        }
        per_class = [
            {"name": name, **{part: counts[index] for part, counts in counted.items()}}
            for index, name in enumerate(self.classes)
        ]
        targets = {
            part: [dict(zip(("min", "mean", "max"), numbers, strict=True)) for numbers in rows]
            for part, rows in self.targets.items()
        }
        return {
            "examples": self.sizes(),
            "image_shape": list(self.image_shape),
            "classes": per_class,
            **({"classes_of": "pixels"} if self.pixels else {}),
            "targets": targets or None,
            "files": {part: asdict(files) for part, files in self.files.items()},
            "mean": list(self.mean),
            "std": list(self.std),
        }


def statistics(dataset: Dataset, splits: Splits) -> Statistics:
    """The numbers of a set and of its `splits`. `mean` and `std` are of its training part before validation is cut off.

    Those are what images are normalized with, but where the set brings its own. Encoded images are decoded, once.
    """
    present = {part: examples for part in PARTS if (examples := getattr(splits, part)) is not None}
    surveys = {
        part: examples.survey()
        for part, examples in (("train", dataset.train), ("test", dataset.test))
        if isinstance(examples, Encoded)
    }
    mean, std = scale_of(list(surveys["train"].counts)) if surveys else dataset.measured
    return Statistics(
        classes=dataset.classes,
        counts={part: _counts(dataset, examples) for part, examples in present.items()},
        pixels=_pixels(dataset),
        image_shape=dataset.image_shape,
        mean=mean,
        std=std,
        targets={
            part: _ranges(examples.labels)
            for part, examples in present.items()
            if examples.has_label and not has_class_ids(dataset, examples)
        },
        files={part: _files(survey) for part, survey in surveys.items()},
    )


def _files(survey: Survey) -> Files:
    whole = survey.sizes[survey.sizes.min(1) > 0]
    by_area = whole[np.argsort(whole.prod(1, dtype=np.int64), kind="stable")]
    some = [by_area[at] for at in (0, len(by_area) // 2, -1)] if len(whole) else []
    return Files(tuple((int(height), int(width)) for height, width in some), tuple(survey.broken.values()))


def has_class_ids(dataset: Dataset, examples: Part) -> bool:
    """Whether a label is the id of one of the set's classes, and not a number, or answers to questions."""
    return (
        bool(dataset.classes)
        and examples.has_label
        and examples.labels.ndim == 1
        and examples.labels.dtype.kind in "iu"
    )


def _counts(dataset: Dataset, examples: Part) -> tuple[int, ...]:
    if not has_class_ids(dataset, examples):
        return (len(examples),)
    return tuple(np.bincount(examples.labels, minlength=len(dataset.classes)).tolist())


def _pixels(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    if "mask" not in dataset.entries or dataset.train.has_label or not dataset.classes:
        return {}
    ids = [*range(len(dataset.classes)), *([] if dataset.ignored is None else [dataset.ignored])]
    found = {}
    for part, examples in (("train", dataset.train), ("test", dataset.test)):
        if isinstance(examples, Encoded):
            counts = examples.survey().pixels
        else:
            counts = np.bincount(examples.values["mask"].reshape(-1), minlength=max(ids) + 1)
        found[part] = tuple(int(counts[index]) for index in ids)
    return found


def _ranges(labels: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    columns = labels.reshape(len(labels), -1).astype(np.float64).T
    return tuple((float(column.min()), float(column.mean()), float(column.max())) for column in columns)


def choose(labels: np.ndarray, count: int, *, classes: int) -> list[np.ndarray]:
    """Indices of `count` examples, in a group for each class, which lie evenly over a class's examples.

    labels: int32 [N] class ids. Every class gets the same number, or all it has; a remainder goes to the first classes,
    one each. With fewer examples than classes, evenly spread ones of the classes that occur get one each, and the
    others have no group. Without classes (`classes` = 0) there is one group.
    """
    if not classes:
        return [_spread(len(labels), count)]
    candidates = np.arange(classes) if count >= classes else np.unique(labels)
    chosen = candidates[_spread(len(candidates), min(count, len(candidates)))]
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(classes + 1))
    whole, more = divmod(count, len(chosen))
    groups = [order[ends[label] : ends[label + 1]] for label in chosen]
    return [group[_spread(len(group), whole + (rank < more))] for rank, group in enumerate(groups)]


def _spread(size: int, count: int) -> np.ndarray:
    """`count` of `size` positions, or all of them, evenly spread."""
    count = min(count, size)
    return ((2 * np.arange(count) + 1) * size // (2 * max(count, 1))).astype(int)
