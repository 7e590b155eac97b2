"""LARS and LAMB: each layer's step is as long as a share of its weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from cnnjax.config import lane
from cnnjax.optim.optim import Optim
from cnnjax.optim.promotion import promoting


class LARS(Optim, tag="lars"):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888, algorithm 1), for large batches.

    With g the gradient of one parameter array w, and d = `weight_decay`: the local rate is `trust` |w| / (|g| + d |w| +
    `eps`), and m = `momentum` m + learning rate x local rate x (g + d w) is subtracted from w, so that m holds the
    learning rates of the steps it gathers; with `nesterov`, the last step + `momentum` m is. Where |w| or |g| is 0, the
    local rate is 1. What `decay_skips` leaves out of the decay (biases and scales) is not scaled either: its local rate
    is 1, as in the reference implementations of MLPerf. `trust` > 0, `momentum` in [0, 1), `eps` >= 0 (not in the
    paper).

    As timm's Lars, but for the learning rates inside the momentum. Optax's divides by |g + d w|.
    """

    learning_rate: float = lane(1.0, gt=0)
    momentum: float = lane(0.9, ge=0, lt=1)
    trust: float = lane(1e-3, gt=0)
    eps: float = lane(1e-8, ge=0)
    nesterov: bool = False

    def direction(self) -> optax.GradientTransformation:
        decay = self.decay()

        def scaled(gradient: jax.Array, shrinkage: jax.Array, param: jax.Array, adapts: bool) -> jax.Array:
            step = gradient + shrinkage
            if not adapts:
                return step
            length, slope = optax.safe_norm(param, 0.0), optax.safe_norm(gradient, 0.0)
            below = slope + optax.safe_norm(shrinkage, 0.0) + self.eps
            defined = (length > 0) & (slope > 0)
            return step * jnp.where(defined, self.trust * length / jnp.where(defined, below, 1), 1)

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            shrinkage, state = decay.update(jax.tree.map(jnp.zeros_like, updates), state, params)
            return jax.tree.map(scaled, updates, shrinkage, params, self.decays(params)), state

        return optax.GradientTransformation(decay.init, update)

    def accumulated(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum, nesterov=self.nesterov)


class LAMB(Optim, tag="lamb"):
    """Layer-wise adaptive moments for large batches (You et al. 2020, arXiv:1904.00962, algorithm 2).

    With r the step of AdamW before its learning rate, weight decay included: the step of one parameter array w is r |w|
    / |r|, or r where |w| or |r| is 0. What `decay_skips` leaves out of the decay (biases and scales) is not scaled
    either, as in timm and the authors' code. `b1`, `b2` in [0, 1), `eps` > 0. timm's Lamb clips the gradient's global
    norm to 1 by default, which is `clip_norm=1.0` here.
    """

    learning_rate: float = lane(1e-3, gt=0)
    weight_decay: float = lane(1e-2, ge=0)
    b1: float = lane(0.9, ge=0, lt=1)
    b2: float = lane(0.999, ge=0, lt=1)
    eps: float = lane(1e-6, gt=0)

    def direction(self) -> optax.GradientTransformation:
        adam = promoting(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))
        return optax.chain(adam, self.decay(), optax.masked(optax.scale_by_trust_ratio(), self.decays))
