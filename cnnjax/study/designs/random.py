"""Arms drawn at random."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.designs.sampling import Sampled, arms_at

AT_ONCE = 1024
MOST_DRAWS = 100
"""Draws for each point that is asked for, after which so many different ones are not to be had."""


class Random(Sampled, Design, tag="random"):
    """`points` different arms, each axis drawn by itself (Bergstra and Bengio 2012, "Random search").

    `Random(axes={"optim.learning_rate": LogUniform(low=1e-3, high=1.0), "model.pool": ["max", "blur"]}, points=60)`.
    seed: of the draws. More points of one seed begin with those of fewer.
    """

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        found = 0
        for arm in itertools.islice(arms_at(self._drawn(), self.axes), self.points):
            found += 1
            yield arm
        if found < self.points:
            raise ConfigError(
                f"random: after {MOST_DRAWS * self.points:,} draws only {found:,} of {self.points:,} points are "
                "different: ask for fewer points, or take the grid of all values"
            )

    def _drawn(self) -> Iterator[list[float]]:
        """Points of the unit cube, those of the first draws first."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        for _ in range(-(-MOST_DRAWS * self.points // AT_ONCE)):
            yield from generator.random((AT_ONCE, len(self.axes))).tolist()
