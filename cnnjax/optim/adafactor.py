"""Adafactor."""

from __future__ import annotations

import optax
from pydantic import Field

from cnnjax.config import lane
from cnnjax.optim.optim import Optim
from cnnjax.optim.promotion import promoting


class Adafactor(Optim, tag="adafactor"):
    """Adam's second moment in the memory of a row and a column (Shazeer and Stern 2018, arXiv:1804.04235).

    v = d v + (1 - d) (g^2 + `eps`) with d = 1 - t^-`decay_rate` at step t from 1. Of an array whose two largest axes
    have at least `min_dim_size_to_factor` entries, v is kept as its means over each of the two, and taken as their
    product over the mean of all. The step g / (root of v) is divided by its root mean square over `clipping_threshold`,
    where that is larger (None does not), multiplied by the root mean square of the parameters, at least 0.001, with
    `multiply_by_parameter_scale`, and averaged by `momentum` (None keeps nothing; Zhai et al. 2022, arXiv:2106.04560,
    section 3.4). `decay_rate` in (0, 1], `clipping_threshold` >= 1, `eps` > 0, `momentum` in [0, 1).

    The learning rate is relative to the size of the parameters with `multiply_by_parameter_scale`. A step shrinks a
    decayed parameter by learning rate x `weight_decay`, as PyTorch's Adafactor; Optax's shrinks it by the decay alone.
    """

    learning_rate: float = lane(1e-2, gt=0)
    decay_rate: float = lane(0.8, gt=0, le=1)
    clipping_threshold: float | None = lane(1.0, ge=1)
    multiply_by_parameter_scale: bool = True
    momentum: float | None = lane(None, ge=0, lt=1)
    eps: float = lane(1e-30, gt=0)
    min_dim_size_to_factor: int = Field(default=128, ge=2)

    def direction(self) -> optax.GradientTransformation:
        parts = [
            optax.scale_by_factored_rms(
                decay_rate=self.decay_rate,
                min_dim_size_to_factor=self.min_dim_size_to_factor,
                epsilon=self.eps,
            )
        ]
        if self.clipping_threshold is not None:
            parts.append(optax.clip_by_block_rms(self.clipping_threshold))
        if self.multiply_by_parameter_scale:
            parts.append(optax.scale_by_param_block_rms())
        if self.momentum is not None:
            parts.append(optax.ema(self.momentum, debias=False))
        return optax.chain(promoting(optax.chain(*parts)), self.decay())
