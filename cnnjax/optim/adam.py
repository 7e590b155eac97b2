"""Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

import jax
import optax

from cnnjax.config import lane
from cnnjax.optim.optim import Optim


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
        adam = optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            # Optax raises b1 and b2 to the number of steps by jnp.power, which strict dtype promotion refuses.
            with jax.numpy_dtype_promotion("standard"):
                return adam.update(updates, state, params)

        return optax.chain(optax.GradientTransformation(adam.init, update), self.decay())
