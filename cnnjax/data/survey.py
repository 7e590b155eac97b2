"""What decoding every image of a part finds: sizes, values, and which cannot be decoded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cnnjax import cache

SECONDS_BETWEEN_LINES = 10.0
_log = logging.getLogger("cnnjax")


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found.

    counts: int64 [C, 256], how often each value is met in each channel, in images as they are evaluated. sizes: int32
    [N, 2], height and width of the files' images; 0 where broken. broken: why an image cannot be decoded, by index.
    pixels: int64 [256], how often each class id is met in masks; 0 where there are none.
    """

    counts: np.ndarray
    sizes: np.ndarray
    broken: Mapping[int, str]
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    @classmethod
    def recall(cls, key: str) -> Survey | None:
        """The survey that was remembered under `key`."""
        arrays = cache.recall_arrays(cache.place("surveys", key, "npz"))
        if not {"counts", "sizes", "broken", "reasons"} <= arrays.keys():
            return None
        broken = dict(zip(arrays["broken"].tolist(), arrays["reasons"].tolist(), strict=True))
        # Surveys from before there were masks have no count of their pixels.
        return cls(arrays["counts"], arrays["sizes"], broken, arrays.get("pixels", np.zeros(256, np.int64)))

    def remember(self, key: str) -> None:
        """Remember this under `key`."""
        arrays = {
            "counts": self.counts,
            "sizes": self.sizes,
            "broken": np.array(list(self.broken), np.int64),
            "reasons": np.array(list(self.broken.values()), np.str_),
            "pixels": self.pixels,
        }
        cache.remember_arrays(cache.place("surveys", key, "npz"), arrays)


def logged(doing: str) -> Callable[[int, int], None]:
    """Something to call with (how many are done, how many there are): it logs a line with an ETA every ten seconds."""
    began = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < SECONDS_BETWEEN_LINES or done >= total:
            return
        shown = now
        left = (now - began) * (total - done) / done
        _log.info("%s: %s of %s, %.0f s, ETA %.0f s", doing, f"{done:,}", f"{total:,}", now - began, left)

    return show
