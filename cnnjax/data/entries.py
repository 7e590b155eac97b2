"""The entries of an example, such as its image, label, mask or boxes: what they are called, and what each must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from cnnjax.data.packed_masks import layers
from cnnjax.data.sentences import check_words
from cnnjax.errors import DataError

Kind = Literal["image", "clip", "mask", "masks", "boxes", "keypoints", "value"]
"""How augmentation treats an entry: all but a "value" move with the image, and only images change their colours. A
"clip" of sound is made an image first."""

_KINDS: Mapping[str, Kind] = {
    "image": "image",
    "image2": "image",
    "mask": "mask",
    "box_mask": "masks",
    "boxes": "boxes",
    "keypoints": "keypoints",
}
RESERVED = ("index", "position", "valid")
"""Names in a batch beside the entries: where an example stands, and whether it counts."""
PARTNERS = ("partner_", "partner2_", "partner3_")
"""What names in a batch begin with of the entries of the examples that each one is mixed with."""


@dataclass(frozen=True)
class Entry:
    """The form of one entry of one example: its shape, its type such as "uint8", and its kind.

    "image": uint8 [H, W, C]. "clip": int16 [T], samples of sound, which stand for the image. "mask": uint8 or int32 [H,
    W], class ids, as large as the image. "boxes": float32 [M, 4], x_min, y_min, x_max, y_max in pixels, where the whole
    image is 0, 0, W, H; beside it `box_valid` bool [M], False for rows that are no box, and `box_label` int32 [M].
    "masks": uint8 [H, W, L], of the objects of `boxes`, packed (`cnnjax.box_masks`): bit r % 8 of layer r // 8 says
    whether a pixel is of the object in row r.
    "keypoints": float32 [K, 3], x, y in pixels (the middle of the first pixel is 0.5, 0.5) and visibility: 0 where
    it is not known where the point is, above 0 where it is; as COCO has it, 1 of what is hidden, 2 of what is seen.
    "value": anything that stays as it is, such as a label, or `words`, int32 [R, T], sentences (`sentence_rows`).
    """

    shape: tuple[int, ...]
    dtype: str
    kind: Kind

    @property
    def nbytes(self) -> int:
        """Bytes that the entry of one example takes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def kind_of(name: str) -> Kind:
    """The kind that entries of that name have, unless the data say otherwise: "value" of a name that is not known."""
    return _KINDS.get(name, "value")


def padded_boxes(
    boxes: Sequence[ArrayLike], labels: Sequence[Sequence[int] | np.ndarray] | None = None, *, most: int
) -> dict[str, Any]:
    """The entries `boxes` [N, most, 4], `box_valid` [N, most] and, with labels, `box_label` [N, most] of N images.

    boxes: [n, 4] of each image, labels: [n] of each; n may be 0. Rows after the n-th are 0 and not valid. Raises
    DataError for an image with more than `most` boxes, and where shapes do not fit.
    """
    made: dict[str, Any] = {
        "boxes": np.zeros((len(boxes), most, 4), np.float32),
        "box_valid": np.zeros((len(boxes), most), bool),
    }
    if labels is not None:
        made["box_label"] = np.zeros((len(boxes), most), np.int32)
        if len(labels) != len(boxes):
            raise DataError(f"boxes of {len(boxes)} images, but labels of {len(labels)}")
    for image, given in enumerate(boxes):
        rows = np.asarray(given, np.float32)
        if rows.size and (rows.ndim != 2 or rows.shape[1] != 4):
            raise DataError(f"boxes of image {image} must be [n, 4], got {list(rows.shape)}")
        count = len(rows)
        if count > most:
            raise DataError(f"image {image} has {count} boxes, more than most = {most}; raise it to the largest count")
        if count:
            made["boxes"][image, :count] = rows
        made["box_valid"][image, :count] = True
        if labels is not None:
            if len(labels[image]) != count:
                raise DataError(f"image {image} has {count} boxes, but {len(labels[image])} labels")
            made["box_label"][image, :count] = labels[image]
    return made


def check_entries(arrays: Mapping[str, np.ndarray], kinds: Mapping[str, Kind]) -> None:
    """Raise DataError unless every array, [N, ...] by entry name, is what its kind asks for (`Entry`)."""
    image = arrays["image"]
    _check_clips(arrays, kinds)
    for name, array in arrays.items():
        if name in RESERVED or name.startswith(PARTNERS):
            raise DataError(f"an entry may not be called {name!r}: a batch has something else by that name")
        if kinds[name] == "image" and (array.ndim != 4 or array.dtype != np.uint8):
            raise DataError(
                f"{_plural(name)} must be uint8 [N, H, W, C], got {array.dtype} {array.shape}{_as_images(name, array)}"
            )
        if array.ndim == 0 or len(array) != len(image):
            raise DataError(f"{len(image)} images but {len(array) if array.ndim else 'no'} {_plural(name)}")
        if array.dtype.kind not in "biuf":
            raise DataError(f"{_plural(name)} must be numbers, got {array.dtype}")
        if kinds[name] in ("image", "mask", "masks") and array.shape[1:3] != image.shape[1:3]:
            raise DataError(f"{_plural(name)} are {_sides(array)}, their images {_sides(image)}: they must be as large")
        if kinds[name] == "mask" and (array.ndim != 3 or array.dtype not in (np.uint8, np.int32)):
            raise DataError(f"{_plural(name)} must be uint8 or int32 [N, H, W], got {array.dtype} {array.shape}")
        if kinds[name] == "masks":
            _check_masks(name, array, arrays)
        if kinds[name] == "keypoints" and (array.dtype != np.float32 or array.ndim != 3 or array.shape[2] != 3):
            raise DataError(f"{_plural(name)} must be float32 [N, K, 3], got {array.dtype} {array.shape}")
        if kinds[name] == "boxes":
            _check_boxes(name, array, arrays)


def _as_images(name: str, array: np.ndarray) -> str:
    """`: give ...`, what makes images of an array that is none; "" where that cannot be told."""
    if array.dtype.kind not in "biuf" or array.ndim not in (3, 4) or not array.size:
        return ""
    plural, least, most = _plural(name), array.min(), array.max()
    made = plural
    if array.dtype.kind == "f" and least >= 0 and most <= 1:
        made = f"({plural} * 255).round().astype(np.uint8)"
    elif array.dtype != np.uint8 and least >= 0 and most <= 255:
        made = f"{plural}.round().astype(np.uint8)" if array.dtype.kind == "f" else f"{plural}.astype(np.uint8)"
    elif array.dtype != np.uint8:
        return f": its values are {least:.6g} to {most:.6g}; scale them to 0 to 255 first"
    made += "[..., None]" if array.ndim == 3 else ""
    below = array.dtype != np.uint8 and 1 < most < 128
    return f": give {made}" + (f", and Dataset(..., maximum={most:.0f}) if that is full brightness" if below else "")


def _check_clips(arrays: Mapping[str, np.ndarray], kinds: Mapping[str, Kind]) -> None:
    for name in [name for name, kind in kinds.items() if kind == "clip"]:
        clips = arrays[name]
        if name != "image":
            raise DataError(f"{name} are clips of sound: these stand for images, and are called image")
        if clips.ndim != 2 or clips.dtype != np.int16 or not clips.shape[1]:
            raise DataError(f"clips of sound must be int16 [N, samples], got {clips.dtype} {clips.shape}")
        for other in [other for other, kind in kinds.items() if kind not in ("clip", "value")]:
            raise DataError(f"{other} has places in an image, and clips of sound have none")


def _check_masks(name: str, bits: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    boxes = arrays.get("boxes")
    if boxes is None or boxes.ndim != 3:
        raise DataError(f"{name} are masks of the objects of boxes [N, M, 4], and there are none")
    count = layers(boxes.shape[1])
    if bits.dtype != np.uint8 or bits.ndim != 4 or bits.shape[3] != count:
        raise DataError(
            f"{name} must be uint8 [N, H, W, {count}], bits of {boxes.shape[1]} objects (packed_masks.packed), got "
            f"{bits.dtype} {bits.shape}"
        )


def _check_boxes(name: str, boxes: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    if boxes.dtype != np.float32 or boxes.ndim != 3 or boxes.shape[2] != 4:
        raise DataError(f"{name} must be float32 [N, M, 4], got {boxes.dtype} {boxes.shape}; see padded_boxes")
    for beside, dtype in (("box_valid", np.dtype(bool)), ("box_label", np.dtype(np.int32))):
        if beside in arrays:
            there = arrays[beside]
            if there.dtype != dtype or there.shape != boxes.shape[:2]:
                shape = list(boxes.shape[:2])
                raise DataError(f"{beside} must be {dtype} {shape} beside {name}, got {there.dtype} {there.shape}")
        elif beside == "box_valid":
            raise DataError(f"{name} want box_valid beside them: which of their rows are boxes; see padded_boxes")
    height, width = arrays["image"].shape[1:3]
    x_min, y_min, x_max, y_max = np.moveaxis(boxes, -1, 0)
    # Written so that numbers that are none are refused.
    good = (x_min >= 0) & (y_min >= 0) & (x_max <= width) & (y_max <= height) & (x_min < x_max) & (y_min < y_max)
    for image, row in np.argwhere(arrays["box_valid"] & ~good)[:1]:
        said = ", ".join(f"{value:g}" for value in boxes[image, row])
        raise DataError(
            f"box {row} of example {image} is {said}: x_min < x_max and y_min < y_max must lie within the image of "
            f"{width}x{height}; clip it, or mark its row as not valid"
        )


def check_alike(some: Mapping[str, Entry], others: Mapping[str, Entry], of_some: str, of_others: str) -> None:
    """Raise DataError unless the entries of two parts of a set have the same names, shapes and kinds."""
    for name in dict.fromkeys((*some, *others)):
        one, other = some.get(name), others.get(name)
        if one is None or other is None:
            has, lacks = (of_others, of_some) if one is None else (of_some, of_others)
            raise DataError(f"{has} examples have {name}, {lacks} examples have not: both parts need the same entries")
        if (one.shape, one.kind) != (other.shape, other.kind):
            shapes = [f"{entry.kind} {list(entry.shape)}" for entry in (one, other)]
            raise DataError(f"{of_some} examples have {name} of {shapes[0]}, {of_others} examples of {shapes[1]}")


def check_classes(arrays: Mapping[str, np.ndarray], classes: int, ignored: int | None, where: str) -> None:
    """Raise DataError, beginning with `where`, for a class id that is none of `classes`, nor `ignored` in a mask.

    arrays: entries in memory, [N, ...]. Classes are those of `label`; where there is none, of `mask`, `box_label`
    and `words`.
    """
    if "label" in arrays:
        labels = arrays["label"]
        if labels.min() < 0 or labels.max() >= classes:
            raise DataError(f"{where} has labels {labels.min()}..{labels.max()}, but there are {classes} classes")
        return
    if "mask" in arrays:
        _check_ids(arrays["mask"], classes, ignored, f"{where}: the mask of example")
    if "box_label" in arrays:
        _check_ids(np.where(arrays["box_valid"], arrays["box_label"], 0), classes, None, f"{where}: a box of example")
    if "words" in arrays:
        check_words(arrays["words"], classes, where)


def _check_ids(ids: np.ndarray, classes: int, ignored: int | None, of_example: str) -> None:
    if ids.min(initial=0) >= 0 and ids.max(initial=0) < classes:
        return
    for number, example in enumerate(ids):
        wrong = example[(example < 0) | (example >= classes)]
        wrong = wrong if ignored is None else wrong[wrong != ignored]
        if len(wrong):
            but = "" if ignored is None else f", and {ignored} is ignored"
            raise DataError(
                f"{of_example} {number} has class id {wrong[0]}, but ids of the {classes} classes are 0 to "
                f"{classes - 1}{but}"
            )


def _plural(name: str) -> str:
    return f"{name}s" if name in ("image", "label", "mask") else name


def _sides(array: np.ndarray) -> str:
    return f"{array.shape[2]}x{array.shape[1]}" if array.ndim > 2 else str(array.shape)
