"""Lion."""

from __future__ import annotations

import optax

from cnnjax.config import lane
from cnnjax.optim.optim import Optim


class Lion(Optim, tag="lion"):
    """Evolved sign momentum (Chen et al. 2023, arXiv:2302.06675, algorithm 2).

    The step is the sign of `b1` m + (1 - `b1`) g, plus `weight_decay` times the parameters; then m = `b2` m + (1 -
    `b2`) g. `b1`, `b2` in [0, 1). As every element moves by the learning rate, that is 3 to 10 times smaller than
    AdamW's, and the weight decay as many times larger, (section 5).
    """

    learning_rate: float = lane(1e-4, gt=0)
    weight_decay: float = lane(0.1, ge=0)
    b1: float = lane(0.9, ge=0, lt=1)
    b2: float = lane(0.99, ge=0, lt=1)

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(optax.scale_by_lion(b1=self.b1, b2=self.b2), self.decay())
