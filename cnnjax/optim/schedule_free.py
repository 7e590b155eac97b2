"""Schedule-free SGD and AdamW, which average the weights instead of lowering the learning rate.

The optimizer's steps move z; x is the average of all z, weighted by the square of the largest learning rate so far.
Gradients are taken at the weights that are trained, y = (1 - b1) z + b1 x, and x is what is evaluated. Defazio et al.
2024, arXiv:2405.15682, section 2; the weights of the average are those of the authors' package.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax.contrib import ScheduleFreeState, schedule_free

from cnnjax.config import lane
from cnnjax.optim.optim import Optim
from cnnjax.optim.promotion import promoting
from cnnjax.optim.schedules import Constant, Schedule


class ScheduleFreeSGD(Optim, tag="schedule_free_sgd"):
    """Stochastic gradient descent whose weights are averages of where its steps lead (see the module).

    `b1` in (0, 1) is in the place of momentum: the share of the averages x in the weights y that are trained. x is
    evaluated instead of y. `weight_decay` times y is added to the gradient. The learning rate stays at its peak after a
    warm-up, so that a training may end at any step; other schedules work, but are what this is to spare. The authors
    suggest 10 to 50 times the learning rate of SGD with momentum.
    """

    learning_rate: float = lane(1.0, gt=0)
    schedule: Schedule = Constant()
    b1: float = lane(0.9, gt=0, lt=1)

    def direction(self) -> optax.GradientTransformation:
        return self.decay()

    def around(self, every: optax.GradientTransformation, rate: optax.Schedule) -> optax.GradientTransformation:
        return _averaging(every, rate, self.b1)

    def evaluated(self, opt_state: Any, params: Any) -> Any:
        return _averages(opt_state, params, self.b1)


class ScheduleFreeAdamW(Optim, tag="schedule_free_adamw"):
    """AdamW without its first moment, whose weights are averages of where its steps lead (see the module).

    `b1` in (0, 1) is in the place of the first moment's decay: the share of the averages x in the weights y that are
    trained. x is evaluated instead of y. `b2` in [0, 1): decay of the second moment, whose root plus `eps` > 0 divides
    the gradient. A step shrinks z by learning rate x `weight_decay` times y. The schedule is as of `schedule_free_sgd`;
    the authors suggest 1 to 10 times the learning rate of AdamW.
    """

    learning_rate: float = lane(2.5e-3, gt=0)
    schedule: Schedule = Constant()
    b1: float = lane(0.9, gt=0, lt=1)
    b2: float = lane(0.999, ge=0, lt=1)
    eps: float = lane(1e-8, gt=0)

    def direction(self) -> optax.GradientTransformation:
        scaled = optax.scale_by_rms(self.b2, self.eps, eps_in_sqrt=False, bias_correction=True)
        return optax.chain(promoting(scaled), self.decay())

    def around(self, every: optax.GradientTransformation, rate: optax.Schedule) -> optax.GradientTransformation:
        return _averaging(every, rate, self.b1)

    def evaluated(self, opt_state: Any, params: Any) -> Any:
        return _averages(opt_state, params, self.b1)


def _averaging(every: optax.GradientTransformation, rate: optax.Schedule, b1: Any) -> optax.GradientTransformation:
    # Optax counts steps from 1 here, and from 0 where it multiplies by the learning rate.
    return promoting(schedule_free(every, lambda count: rate(count - 1), b1=b1))


def _averages(opt_state: Any, params: Any, b1: Any) -> Any:
    """x of the trained weights y; parameters that are frozen are as they are."""
    states = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, ScheduleFreeState))
    [own] = [state for state in states if isinstance(state, ScheduleFreeState)]

    def average(z: Any, y: jax.Array) -> jax.Array:
        return y if isinstance(z, optax.MaskedNode) else (y - (1 - b1) * z) / b1

    return jax.tree.map(average, own.z, params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
