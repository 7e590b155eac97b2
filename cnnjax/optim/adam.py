"""Adam, with weight decay in the gradient or decoupled from it."""

from __future__ import annotations

import optax

from cnnjax.config import lane
from cnnjax.optim.optim import Optim
from cnnjax.optim.promotion import promoting


class Adam(Optim, tag="adam"):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1), as PyTorch's Adam.

    With g the gradient plus `weight_decay` times the parameters (L2 regularization): m = `b1` m + (1 - `b1`) g,
    v = `b2` v + (1 - `b2`) g^2, and the step is m / (1 - `b1`^t) divided by the root of v / (1 - `b2`^t) plus `eps`.
    `b1`, `b2` in [0, 1), `eps` > 0. Of parameters with large gradients the decay is divided by them too; `adamw` decays
    all alike.
    """

    learning_rate: float = lane(1e-3, gt=0)
    b1: float = lane(0.9, ge=0, lt=1)
    b2: float = lane(0.999, ge=0, lt=1)
    eps: float = lane(1e-8, gt=0)

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(self.decay(), promoting(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)))


class AdamW(Optim, tag="adamw"):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as PyTorch's AdamW.

    `b1`, `b2` in [0, 1): decay of the first and second moment. `eps` > 0 is added to the root of the second moment. A
    step shrinks a decayed parameter by learning rate x `weight_decay`.
    """

    learning_rate: float = lane(1e-3, gt=0)
    weight_decay: float = lane(1e-2, ge=0)
    b1: float = lane(0.9, ge=0, lt=1)
    b2: float = lane(0.999, ge=0, lt=1)
    eps: float = lane(1e-8, gt=0)

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(promoting(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)), self.decay())
