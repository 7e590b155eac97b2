"""Whether images are real, as a discriminator says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Of N images, in their order: logits [N], above 0 where an image is called real, and probabilities [N] of that."""

    logits: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.logits)

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"logit", "real"}` of each image, real a probability. Raises ConfigError unless `top` is 1."""
        if top != 1:
            raise ConfigError(f"top = {top!r}: must be 1, for of an image one thing is said: whether it is real")
        pairs = zip(self.logits, self.probabilities, strict=True)
        return [{"logit": float(logit), "real": float(share)} for logit, share in pairs]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: the heads of its columns, and the cells of each image."""
        return ("real", "logit"), [[f"{row['real']:.2%}", f"{row['logit']:.3f}"] for row in self.rows(top)]

    def pictures(self, images: np.ndarray) -> Iterator[bytes] | None:
        """None: what is said is no picture."""
        return None

    def __repr__(self) -> str:
        return f"<Scores of {len(self)} image{'s' * (len(self) != 1)}: {(self.logits > 0).sum()} called real>"
