"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import optax

from cnnjax.config import lane
from cnnjax.optim.optim import Optim


class SGD(Optim, tag="sgd"):
    """Stochastic gradient descent with momentum, as PyTorch's SGD without dampening.

    With g the gradient plus `weight_decay` times the parameters: m = `momentum` m + g, and the step is m, or
    g + `momentum` m with `nesterov` (Sutskever et al. 2013). `momentum` in [0, 1). `decoupled` adds the decay after
    the momentum instead, so a step shrinks a parameter by learning rate x weight decay (SGDW, Loshchilov and Hutter
    2019, arXiv:1711.05101, with the learning rate multiplied in as AdamW does).
    """

    learning_rate: float = lane(0.1, gt=0)
    momentum: float = lane(0.9, ge=0, lt=1)
    nesterov: bool = True
    decoupled: bool = False

    def direction(self) -> optax.GradientTransformation:
        momentum = optax.trace(self.momentum, nesterov=self.nesterov)
        return optax.chain(momentum, self.decay()) if self.decoupled else optax.chain(self.decay(), momentum)
