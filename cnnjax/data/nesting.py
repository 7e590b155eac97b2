"""Folders that are taken for classes and are none: parts by uncommon names, parts within classes, kinds of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cnnjax.data.partition import TEST, TRAIN, VALIDATION, family
from cnnjax.data.spelling import listed, tidy
from cnnjax.data.store import IMAGES, FileKind, Store
from cnnjax.errors import DataError

# How sets for detection and segmentation call the folders of their images and of what belongs to those.
_KINDS = frozenset(
    (
        *("image", "images", "img", "imgs", "jpegimages", "photos", "pictures", "label", "labels", "mask", "masks"),
        *("annotation", "annotations", "groundtruth", "ground_truth", "gt", "segmentationclass", "segmentationobject"),
    )
)


def within(store: Store, images: Sequence[str], at: str, classes: Sequence[str] = ()) -> str:
    """The folder in `at` (ends with `/`, or is empty) that the classes lie in: `at`, or the only one in it, if that
    holds folders and is none of the `classes`, as in `train/train/cat/1.png`."""
    while True:
        below = [name[len(at) :] for name in store.folders if name.startswith(at)]
        inner = {name.partition("/")[0] for name in below}
        beside = any(name.startswith(at) and "/" not in name[len(at) :] for name in images) if len(inner) == 1 else True
        if beside or len(below) == 1 or tidy(*inner) in classes:
            return at
        at += f"{inner.pop()}/"


def check_nesting(
    store: Store, at: str, folders: Mapping[str, str], parts: bool, kind: FileKind = IMAGES
) -> Iterator[str]:
    """A remark for each way in which the folders in `at` look like something else than classes.

    folders: their names, by class. parts: whether they lie in a part. kind: of the files. Raises DataError where they
    hold parts, or are parts themselves.
    """
    held = _held(store, at, folders)
    shared = [name for name, count in Counter(name for names in held.values() for name in names).items() if count > 1]
    divided = {family(name) for name in shared} - {None}
    if len(divided) > 1:
        example = next(label for label, names in held.items() if shared[0] in names)
        raise DataError(
            f"{store.shown(at + folders[example])} holds parts, {listed(shared)}, and so do others; the classes lie in "
            f"the parts, not the parts in the classes: move them to {shared[0]}/{example} and so on"
            f"{', or list the images in a table (csv)' if kind is IMAGES else ''}"
        )
    if not parts:
        yield from _like_parts(store, at, folders, held, kind)
    if shared:
        holding = [label for label, names in held.items() if set(names) & set(shared)]
        yield (
            f"classes {listed(holding)} have folders of the same names, {listed(sorted(shared))}, all of whose "
            f"{kind.many} are theirs; if those are the classes, name the parts with train_split and test_split"
        )
    kinds = [label for label in folders if label.casefold() in _KINDS]
    if kinds:
        yield (
            f"{listed(kinds)} {'are' if len(kinds) > 1 else 'is'} taken for the name of a class; masks and boxes are "
            "not read, and where labels stand in a table, name it with csv"
        )


def _like_parts(
    store: Store, at: str, folders: Mapping[str, str], held: Mapping[str, Sequence[str]], kind: FileKind
) -> Iterator[str]:
    trains = [label for label in folders if _has_word_of(label, TRAIN)]
    tests = [label for label in folders if _has_word_of(label, (*TEST, *VALIDATION))]
    if trains and tests:
        what = f"{listed(trains)} and {listed(tests)}"
        if any(held[label] for label in trains):
            raise DataError(
                f"{store.shown(at.rstrip('/'))}: {what} look like parts; choose with "
                f"train_split={folders[trains[0]]!r} and test_split={folders[tests[0]]!r}, or, if they are classes, "
                "name all of those with classes"
            )
        yield (
            f"{what} are taken for classes; if they are parts, sort their {kind.many} into folders, one for each class"
        )


def _has_word_of(name: str, words: Sequence[str]) -> bool:
    return not set(re.split(r"[\W_\d]+", name.casefold())).isdisjoint(words)


def _held(store: Store, at: str, folders: Mapping[str, str]) -> dict[str, list[str]]:
    """The names of the folders in each of `folders`, by class."""
    held: dict[str, list[str]] = {folder: [] for folder in folders.values()}
    for name in store.folders:
        outer, *inner = name[len(at) :].split("/")
        if name.startswith(at) and len(inner) == 1:
            held[outer] += inner
    return {label: held[folder] for label, folder in folders.items()}
