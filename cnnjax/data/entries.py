"""The entries of an example, by name: its image, and any of a label, a mask, boxes, keypoints, and what a user adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "mask", "boxes", "keypoints", "value"]
"""What an entry is to augmentation: all but a value are of places in the image."""

_KINDS: dict[str, Kind] = {
    "image": "image",
    "image2": "image",
    "mask": "mask",
    "boxes": "boxes",
    "keypoints": "keypoints",
}


def kind_of(name: str) -> Kind:
    """What an entry of that name is; of a name that is not known, a value."""
    return _KINDS.get(name, "value")


@dataclass(frozen=True)
class Entry:
    """One entry of an example: its shape, its type, such as int32, and what it is."""

    shape: tuple[int, ...]
    dtype: str
    kind: Kind
