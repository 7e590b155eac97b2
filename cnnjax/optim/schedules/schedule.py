"""Learning-rate schedules as configs that build optax schedules.

A schedule is a curve in multiples of the peak learning rate; steps count from 0, the first update is step 0. Lane
fields may hold traced scalars (`config.bind`).
"""

from __future__ import annotations

from typing import Any, Literal, Self

import jax.numpy as jnp
import optax
from jax import lax
from pydantic import Field, model_validator

from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig


class Schedule(StepConfig, union="name"):
    """The learning rate over a training. A schedule of your own defines `curve`.

    `warmup`, in epochs (fractions allowed, at least 0, shorter than the training), rises linearly: with w = the rounded
    number of warm-up steps, step t < w runs at (t + 1) / (w + 1) of the peak, and step w is the first of the curve
    (Goyal et al. 2017, arXiv:1706.02677, section 2.2). Warm-up is part of the training, not added to it.
    """

    warmup: float = Field(default=0.0, ge=0)

    def as_in_a_step(self) -> None:
        self.build(0.1, steps=8, steps_per_epoch=4)(jnp.int32(0))

    def build(self, peak: Any, *, steps: int, steps_per_epoch: int) -> optax.Schedule:
        """The learning rate as a function of the step (a number or an array of them), float32.

        `peak`: learning rate at the top, a number or a traced scalar. `steps`: length of the whole training, warm-up
        included. Raises ConfigError where training has no step or is not longer than the warm-up.
        """
        warmup = self.warmup_steps(steps=steps, steps_per_epoch=steps_per_epoch)
        curve = self.curve(steps=steps, warmup=warmup)
        if warmup:
            rise = optax.linear_schedule(1 / (warmup + 1), 1.0, warmup)
            curve = optax.join_schedules([rise, curve], [warmup])
        return lambda step: jnp.asarray(peak * curve(step), jnp.float32)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        """Multiples of the peak as a function of the steps since warm-up ended; `steps` includes the `warmup` steps."""
        raise ConfigError(f"{type(self).__name__} defines no curve(steps=, warmup=)")

    def warmup_steps(self, *, steps: int, steps_per_epoch: int) -> int:
        """How many steps warm-up takes. Raises ConfigError unless fewer than `steps`."""
        warmup = round(self.warmup * steps_per_epoch)
        if steps < 1:
            raise ConfigError(f"schedule: a training of {steps} steps; it must have at least 1")
        if warmup >= steps:
            raise ConfigError(
                f"schedule.warmup = {self.warmup}: {self.warmup} epochs of {steps_per_epoch} steps are {warmup} steps, "
                f"but the training has {steps}; warm-up must be shorter"
            )
        return warmup


class Constant(Schedule):
    """The peak throughout."""

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return lambda step: jnp.ones_like(step, jnp.float32)


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
        drops = [round(at * steps) - warmup for at in self.at]
        # Not optax.piecewise_constant_schedule: it needs the factor's value, and merges drops that round to one step.
        # lax.pow, for jnp.power refuses a whole exponent where dtype promotion is strict.
        return lambda step: lax.pow(
            jnp.asarray(self.factor, jnp.float32), sum((jnp.asarray(step) >= drop).astype(jnp.int32) for drop in drops)
        )


class Cosine(Schedule):
    """Half a cosine from the peak to `final` (a fraction of the peak, in [0, 1]; Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts). `final` would be the rate of the step after the last.
    """

    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return _cosine(steps - warmup, final=self.final)


def _cosine(steps: int, *, final: Any = 0.0) -> optax.Schedule:
    """From 1 to `final` in `steps`, computed in float32."""
    curve = optax.cosine_decay_schedule(1.0, steps, alpha=final)
    return lambda step: curve(jnp.asarray(step, jnp.float32))


class Linear(Schedule):
    """A straight line from the peak to `final` (a fraction of the peak, in [0, 1]) at the step after the last."""

    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return optax.linear_schedule(1.0, self.final, steps - warmup)


class OneCycle(Schedule):
    """Up from `start` to the peak at `peak_at`, then down to `final` (Smith and Topin 2017, arXiv:1708.07120).

    `peak_at`: fraction of the training in (0, 1). `start`, `final`: fractions of the peak in [0, 1]. `shape`: half
    cosines or straight lines. The rise is the warm-up, so `warmup` must stay 0.
    """

    peak_at: float = Field(default=0.3, gt=0, lt=1)
    start: float = lane(0.04, ge=0, le=1)
    final: float = lane(0.0, ge=0, le=1)
    shape: Literal["cosine", "linear"] = "cosine"

    @model_validator(mode="after")
    def _one_rise(self) -> Self:
        if self.warmup:
            raise ValueError(f"warmup = {self.warmup}: one_cycle has its own rise (see peak_at); leave warmup at 0")
        return self

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        top = min(max(round(self.peak_at * steps), 1), steps)
        up, down = self._fade(top), self._fade(max(steps - top, 1))

        def rise(step: Any) -> Any:
            return 1 + (self.start - 1) * up(step)

        def fall(step: Any) -> Any:
            return self.final + (1 - self.final) * down(step)

        # Not optax.cosine_onecycle_schedule: it multiplies its values up from the first, which then cannot be 0.
        return optax.join_schedules([rise, fall], [top])

    def _fade(self, steps: int) -> optax.Schedule:
        """From 1 to 0 in `steps`."""
        if self.shape == "linear":
            return optax.linear_schedule(1.0, 0.0, steps)
        return _cosine(steps)
