"""Arms at the points of a Sobol sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import model_validator

from cnnjax.errors import ConfigError
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.designs.sampling import Sampled, arms_at

AT_ONCE = 1024


class Sobol(Sampled, Design, tag="sobol"):
    """`points` arms that fill the space of the axes more evenly than random ones (Sobol 1967; scrambled as Owen 1998).

    `Sobol(axes={"optim.learning_rate": LogUniform(low=1e-3, high=1.0), "model.features": [8, 16]}, points=64)`.
    points: a power of two, for which the sequence is balanced. seed: of the scrambling. More points of one seed
    begin with those of fewer. Points that fall on one arm, where values are few, count once: `count` is the most.
    """

    @model_validator(mode="after")
    def _balanced(self) -> Sobol:
        if self.points & (self.points - 1):
            below = 1 << (self.points.bit_length() - 1)
            raise ConfigError(f"points = {self.points}: only powers of two are balanced, {below} or {2 * below}")
        return self

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        return arms_at(self._drawn(), self.axes)

    def _drawn(self) -> Iterator[list[float]]:
        # SciPy takes a second to import, which a study without drawn arms need not wait for.
        from scipy.stats import qmc

        engine = qmc.Sobol(len(self.axes), scramble=True, rng=np.random.Generator(np.random.PCG64(self.seed)))
        for first in range(0, self.points, AT_ONCE):
            yield from engine.random(min(AT_ONCE, self.points - first)).tolist()
