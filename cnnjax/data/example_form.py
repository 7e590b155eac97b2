"""The form of a data set's examples: all that a network and its steps need to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from cnnjax.data.entries import Entry, Kind
from cnnjax.data.skeleton import Skeleton
from cnnjax.data.sound.sound import Sound


class ExampleForm(Protocol):
    """The form of the examples of a data set: a `Dataset` has one, and so has the record of what a run resolved."""

    @property
    def name(self) -> str:
        """Of the data set, for messages."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        ...

    @property
    def maximum(self) -> int:
        """The pixel value of full brightness."""
        ...

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std of each channel as shares of `maximum`: a network sees `(pixel / maximum - mean) / std`."""
        ...

    @property
    def sound(self) -> Sound | None:
        """How images are made of the entry `image`, where that is a clip of sound; None where it is an image."""
        ...

    @property
    def skeleton(self) -> Skeleton | None:
        """Of figures whose joints are the entry `keypoints`, and the classes their names; None where there is none."""
        ...

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The form of each entry of an example, by name, such as "image" and "label"."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by class id, of labels or, where examples have none, of their masks' pixels; empty where there are no
        classes."""
        ...

    @property
    def ignored(self) -> int | None:
        """What the pixels of masks that are of no class have for a class id; None where all are of one."""
        ...

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Of the label of one example: () for a class; of its mask, where there is no label."""
        ...

    @property
    def target_dtype(self) -> str:
        """Of labels, such as int32; of masks, where there are no labels."""
        ...


def as_images(form: ExampleForm, entry: Any) -> Any:
    """The images float32 [B, H, W, C] in 0..1 of an entry [B, ...] that is or stands for the image; pure.

    entry: pixels [B, H, W, C] of 0..`maximum`, uint8 or floating point; or, of a form with sound, clips int16
    [B, samples]. Of such a form pixels are images that were made of clips before.
    """
    if form.sound is not None and entry.ndim == 2:
        return form.sound.images(entry)
    return entry.astype("float32") / form.maximum


def seen_kind(kind: Kind) -> Kind:
    """The kind of an entry once clips are images."""
    return "image" if kind == "clip" else kind
