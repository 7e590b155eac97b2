"""Examples that are clips of sound in memory; where images are looked at, they are the front end's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from cnnjax.data.entries import Kind
from cnnjax.data.examples import Examples, Generators, Part, Scale
from cnnjax.data.sound.sound import Sound
from cnnjax.errors import DataError

TOGETHER = 256
"""Clips whose images are made together on the host."""


class Clips(Examples):
    """Clips of `sound`, int16 [N, samples] under the name `image`, with labels and other entries by keyword.

    names: of the files they are of, for messages; () of made ones. Raises DataError as `Examples` does.
    """

    sound: Sound  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        clips: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        sound: Sound,
        names: tuple[str, ...] = (),
        kinds: Mapping[str, Kind] | None = None,
        **entries: np.ndarray,
    ):
        super().__init__(clips, labels, kinds={**(kinds or {}), "image": "clip"}, **entries)
        if self.images.shape[1] != sound.samples:
            raise DataError(f"clips have {self.images.shape[1]} samples, and their sound says {sound.samples}")
        self.sound = sound  # pyright: ignore[reportIncompatibleVariableOverride]
        self.names = names

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        return self.sound.image_shape

    def images_at(self, indices: np.ndarray, generator: Generators | None = None) -> Iterator[np.ndarray]:
        for start in range(0, len(indices), TOGETHER):
            made = seen(self.sound, self.images[indices[start : start + TOGETHER]])
            yield from np.rint(255 * made).astype(np.uint8)

    def stacked(self, indices: np.ndarray, generator: Generators | None = None) -> np.ndarray:
        """The images that the front end makes of the clips at `indices`, rounded to uint8 [B, H, W, 1]."""
        return np.stack(list(self.images_at(np.asarray(indices))))

    def take(self, indices: np.ndarray) -> Clips:
        other: Any = super().take(indices)
        if self.names:
            other.names = tuple(self.names[index] for index in indices)
        return other

    def measured(self) -> Scale:
        """Mean and std of all images, in 0..1, as the network sees them: not rounded."""
        total, squares, count = 0.0, 0.0, 0
        for start in range(0, len(self), TOGETHER):
            made = seen(self.sound, self.images[start : start + TOGETHER]).astype(np.float64)
            total, squares, count = total + made.sum(), squares + np.square(made).sum(), count + made.size
        mean = total / count
        return (mean,), (float(np.sqrt(max(0.0, squares / count - mean**2))),)

    def hash_into(self, total: Any) -> None:
        super().hash_into(total)
        total.update(f"\0{self.sound.rate}\0".encode())

    def repeated_in(self, test: Part) -> tuple[str, ...]:
        if not isinstance(test, Clips):
            return ()
        known = {digest: index for index, digest in enumerate(_digests(self.images))}
        shared = [(index, known[own]) for index, own in enumerate(_digests(test.images)) if own in known]
        if not shared:
            return ()
        index, twin = shared[0]
        return (
            f"{len(shared):,} clip{'s' * (len(shared) > 1)} of the test part {'are' if len(shared) > 1 else 'is'} in "
            f"the training part too, sample for sample, e.g. {test.shown(index)} is {self.shown(twin)}; take such out "
            "of one of them",
        )

    def shown(self, index: int) -> str:
        """How a clip is named to the user."""
        return self.names[index] if self.names else f"number {index}"


def _digests(clips: np.ndarray) -> Iterator[bytes]:
    return (hashlib.blake2b(np.ascontiguousarray(clip).data, digest_size=16).digest() for clip in clips)


def seen(sound: Sound, clips: np.ndarray) -> np.ndarray:
    """The images float32 [B, H, W, 1] in 0..1 of clips int16 [B, samples], on the host.

    As many clips are computed together as there ever are, so that nothing is compiled anew for the last.
    """
    size = min(TOGETHER, 1 << max(0, len(clips) - 1).bit_length())
    filled = np.concatenate([clips, np.zeros((size - len(clips), *clips.shape[1:]), clips.dtype)])
    return np.asarray(_compiled(sound)(filled))[: len(clips)]  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=8)
def _compiled(sound: Sound) -> Any:
    import jax

    return jax.jit(sound.images)
