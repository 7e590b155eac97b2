"""Rates that fall by a factor: at given times, or every few epochs, in stairs or smoothly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Self

import jax
import jax.numpy as jnp
import optax
from jax import lax
from pydantic import Field, model_validator

from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.optim.schedules.schedule import Schedule


class Step(Schedule):
    """The peak times `factor` (in (0, 1]) once for each of `at` that has passed.

    `at`: ascending fractions of the training in (0, 1), warm-up included, so (1/3, 2/3, 8/9) is 30, 60, 80 of 90
    epochs. A drop takes effect from the rounded step on; one that falls into the warm-up waits for its end.
    """

    at: tuple[float, ...] = Field(default=(0.5, 0.75), min_length=1)
    factor: float = lane(0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(low >= high for low, high in zip((0.0, *self.at), (*self.at, 1.0), strict=True)):
            raise ValueError(f"at = {self.at}: must be ascending fractions of the training between 0 and 1")
        return self

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return _drops([round(at * steps) - warmup for at in self.at], self.factor)


class MultiStep(Schedule):
    """The peak times `factor` (in (0, 1]) once for each of `milestones` that has passed.

    `milestones`: ascending epochs of the training, greater than 0, fractions allowed, warm-up included; one that the
    training does not reach is refused. A drop takes effect from the rounded step on; one that falls into the warm-up
    waits for its end. As PyTorch's MultiStepLR (milestones, gamma); timm's milestones come an epoch early. The default
    is that of Goyal et al. 2017 (arXiv:1706.02677, section 5.1) for 90 epochs.
    """

    milestones: tuple[float, ...] = Field(default=(30.0, 60.0, 80.0), min_length=1)
    factor: float = lane(0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(low >= high for low, high in zip((0.0, *self.milestones), self.milestones, strict=False)):
            raise ValueError(f"milestones = {self.milestones}: must be ascending epochs greater than 0")
        return self

    def curve_in_epochs(self, *, steps: int, warmup: int, steps_per_epoch: int) -> optax.Schedule:
        drops = [round(epoch * steps_per_epoch) for epoch in self.milestones]
        if drops[-1] >= steps:
            raise ConfigError(
                f"schedule.milestones = {self.milestones}: {self.milestones[-1]} epochs of {steps_per_epoch} steps are "
                f"{drops[-1]} steps, but the training has {steps}; every milestone must come before its end"
            )
        return _drops([drop - warmup for drop in drops], self.factor)


def _drops(drops: Sequence[int], factor: Any) -> optax.Schedule:
    """`factor` once for each of the steps `drops` that has come."""
    # Not optax.piecewise_constant_schedule: it needs the factor's value, and merges drops that round to one step.
    # lax.pow, for jnp.power refuses a whole exponent where dtype promotion is strict.
    return lambda step: lax.pow(
        jnp.asarray(factor, jnp.float32), sum((jnp.asarray(step) >= drop).astype(jnp.int32) for drop in drops)
    )


class Exponential(Schedule):
    """The peak times `factor` (in (0, 1]) to the number of times that `epochs` have passed since warm-up.

    `epochs`: greater than 0, fractions allowed. `staircase`: the number is rounded down, so that the rate falls at once
    every `epochs`; without it the rate falls at every step, `factor` in `epochs`. As TensorFlow's ExponentialDecay;
    0.97 every 2.4 epochs is EfficientNet's (Tan and Le 2019, arXiv:1905.11946, section 5.2). With `epochs` 1 and
    `by_epoch` it is PyTorch's ExponentialLR, with `staircase` (`schedule=step_every`) PyTorch's StepLR.
    """

    factor: float = lane(0.97, gt=0, le=1)
    epochs: float = Field(default=2.4, gt=0)
    staircase: bool = False

    def curve_in_epochs(self, *, steps: int, warmup: int, steps_per_epoch: int) -> optax.Schedule:
        period = self.epochs * steps_per_epoch
        if self.staircase and not 1 <= period < steps - warmup:
            raise ConfigError(
                f"schedule.epochs = {self.epochs}: the rate falls every {period:g} steps, but the training has "
                f"{steps - warmup} behind warm-up; it must fall in it, and not within a step"
            )

        def curve(step: Any) -> Any:
            factor = jnp.asarray(self.factor, jnp.float32)
            if self.staircase:
                return lax.pow(factor, _times(jnp.asarray(step, jnp.int32), period))
            passed = jnp.asarray(step, jnp.float32) / period
            return lax.pow(jnp.broadcast_to(factor, passed.shape), passed)

        return curve


def _times(step: jax.Array, period: float) -> jax.Array:
    """How many whole periods `step` steps hold, in whole numbers: 5 of 16.8 steps are 84 steps, to the step."""
    exact = Fraction(period).limit_denominator(max(1, min(100, math.isqrt(2**30 // math.ceil(period)))))
    p, q = exact.numerator, exact.denominator
    # step q / p, without a product beyond int32
    return step // p * q + step % p * q // p


def step_every() -> Exponential:
    """The peak times 0.1 every 30 epochs: PyTorch's StepLR (step_size, gamma) and `lr_step_size` of torchvision."""
    return Exponential(factor=0.1, epochs=30.0, staircase=True)


Schedule.presets["step_every"] = step_every
