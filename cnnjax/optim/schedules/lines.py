"""Straight lines and their powers: constant, linear, polynomial, and lines between given points."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from pydantic import Field, model_validator

from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.optim.schedules.schedule import Schedule, refuse_warmup


class Constant(Schedule):
    """The peak throughout."""

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return lambda step: jnp.ones_like(step, jnp.float32)


class Linear(Schedule):
    """A straight line from the peak to `final` (a fraction of the peak, in [0, 1]) at the step after the last."""

    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return optax.linear_schedule(1.0, self.final, steps - warmup)


class Polynomial(Schedule):
    """From the peak to `final` as (1 - t/T) to the `power`: final + (1 - final)(1 - t/T)^power at step t of T.

    `power`: greater than 0; 1 is `linear`, 0.9 what DeepLab takes (Chen et al. 2018, arXiv:1606.00915, section 4.1), 2
    what LARS takes (You et al. 2017, arXiv:1708.03888, section 5). `final`: a fraction of the peak, in [0, 1], at the
    step after the last. As PyTorch's PolynomialLR, which has final 0.
    """

    power: float = lane(2.0, gt=0)
    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        length = steps - warmup

        def curve(step: Any) -> Any:
            left = jnp.maximum(length - jnp.asarray(step, jnp.float32), 0) / length
            return self.final + (1 - self.final) * lax.pow(
                left, jnp.broadcast_to(jnp.asarray(self.power, jnp.float32), left.shape)
            )

        return curve


class PiecewiseLinear(Schedule):
    """Straight lines between `knots`: (epoch, multiple of the peak), from epoch 0 in ascending order of epochs.

    Multiples lie in [0, 1] and one of them is 1, so that `learning_rate` is the peak. After the last knot the rate
    stays. The last knot may lie less than an epoch behind the end of the training, and where its multiple is 0 less
    than one before: an epoch is as many whole batches as there are in a pass, so that a training of 20 passes may have
    20.9. Warm-up is a matter of knots, so `warmup` must stay 0. The default is the triangle of DAWNBench's CIFAR-10
    entries (24 epochs, peak at 5), which FFCV and airbench take with other knots.
    """

    knots: tuple[tuple[float, float], ...] = Field(default=((0.0, 0.0), (5.0, 1.0), (24.0, 0.0)), min_length=2)

    @model_validator(mode="after")
    def _a_curve(self) -> Self:
        refuse_warmup(self, "knots")
        epochs, multiples = zip(*self.knots, strict=True)
        if epochs[0] != 0 or any(low >= high for low, high in pairwise(epochs)):
            raise ValueError(f"knots: epochs {epochs} must begin with 0 and ascend")
        if min(multiples) < 0 or max(multiples) != 1:
            raise ValueError(f"knots: multiples {multiples} must lie between 0 and 1, and one must be 1, the peak")
        return self

    def curve_in_epochs(self, *, steps: int, warmup: int, steps_per_epoch: int) -> optax.Schedule:
        epochs, multiples = (np.asarray(values, np.float32) for values in zip(*self.knots, strict=True))
        last, end = self.knots[-1]
        beyond = round(last * steps_per_epoch) - steps
        if beyond >= steps_per_epoch:
            raise ConfigError(
                f"schedule.knots: epoch {last} is never reached: the training has {steps / steps_per_epoch:g} epochs"
            )
        peak = next(epoch for epoch, multiple in self.knots if multiple == 1)
        if round(peak * steps_per_epoch) > steps:
            raise ConfigError(
                f"schedule.knots: the peak, at epoch {peak}, is never reached: the training has "
                f"{steps / steps_per_epoch:g} epochs"
            )
        if end == 0 and -beyond >= steps_per_epoch:
            raise ConfigError(
                f"schedule.knots: the rate is 0 from epoch {last} on, but the training has "
                f"{steps / steps_per_epoch:g} epochs; let the last knot be its end"
            )
        return lambda step: jnp.interp(jnp.asarray(step, jnp.float32), epochs * steps_per_epoch, multiples)
