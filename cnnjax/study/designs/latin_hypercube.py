"""Arms of a Latin hypercube."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.designs.sampling import Sampled, arms_at


class LatinHypercube(Sampled, Design, tag="latin_hypercube"):
    """`points` arms of which each axis has one in every `points`-th part of its range (McKay, Beckman, Conover 1979).

    `LatinHypercube(axes={"optim.learning_rate": LogUniform(low=1e-3, high=1.0)}, points=20)`. seed: of where in its
    part each lies, and of how the axes are put together. Another number of points gives other arms throughout. Points
    that fall on one arm, where values are few, count once: `count` is the most.
    """

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        from scipy.stats import qmc

        engine = qmc.LatinHypercube(len(self.axes), rng=np.random.Generator(np.random.PCG64(self.seed)))
        return arms_at(engine.random(self.points).tolist(), self.axes)
