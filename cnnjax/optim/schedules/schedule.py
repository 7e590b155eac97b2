"""What all learning-rate schedules have: the warm-up, and whether the rate changes by step or by epoch.

A schedule is a curve in multiples of the peak learning rate; steps count from 0, the first update is step 0. Lane
fields may hold traced scalars (`config.bind`).
"""

from __future__ import annotations

from typing import Any, Literal, Self

import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from cnnjax.config import later
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig


class Schedule(StepConfig, union="name"):
    """The learning rate over a training. A schedule of your own defines `curve`, or `curve_in_epochs`. An epoch is as
    many steps as a pass over the training part has whole batches.

    `warmup`, in epochs (fractions allowed, at least 0, shorter than the training), rises linearly: with w = the rounded
    number of warm-up steps, step t < w runs at (t + 1) / (w + 1) of the peak, and step w is the first of the curve
    (Goyal et al. 2017, arXiv:1706.02677, section 2.2). Warm-up is part of the training, not added to it.

    `warmup_start`: the fraction of the peak, in [0, 1], at step 0; step t < w then runs at s + (1 - s) t / w of the
    peak (torchvision's `lr_warmup_decay`, timm's `warmup_lr` divided by the rate). None is Goyal's start.
    `warmup_shape`: "linear", or "constant" at `warmup_start` until step w. `curve_from`: the curve's first step is the
    one after warm-up ("warmup_end"), or the training's first, so that warm-up stands in the place of the curve's
    beginning ("start", as timm without `warmup_prefix`). `by_epoch`: the rate of a step is that of the first step of
    its epoch, as where a scheduler is called once an epoch (torchvision, timm).
    """

    warmup: float = Field(default=0.0, ge=0)
    warmup_start: float | None = later(None, ge=0, le=1)
    warmup_shape: Literal["linear", "constant"] = later("linear")
    curve_from: Literal["warmup_end", "start"] = later("warmup_end")
    by_epoch: bool = later(False)

    @model_validator(mode="after")
    def _constant_has_a_start(self) -> Self:
        if self.warmup_shape == "constant" and self.warmup_start is None:
            raise ValueError("warmup_shape = 'constant': set warmup_start, the fraction of the peak that it runs at")
        return self

    def as_in_a_step(self) -> None:
        self.build(0.1, steps=4000, steps_per_epoch=4)(jnp.int32(0))

    def build(self, peak: Any, *, steps: int, steps_per_epoch: int) -> optax.Schedule:
        """The learning rate as a function of the step (a number or an array of them), float32.

        `peak`: learning rate at the top, a number or a traced scalar. `steps`: length of the whole training, warm-up
        included. Raises ConfigError where training has no step or is not longer than the warm-up, and where the
        schedule does not fit its length.
        """
        warmup = self.warmup_steps(steps=steps, steps_per_epoch=steps_per_epoch)
        before = warmup if self.curve_from == "warmup_end" else 0
        curve = self.curve_in_epochs(steps=steps, warmup=before, steps_per_epoch=steps_per_epoch)
        multiple = self._warmed_up(curve, warmup, already=warmup - before)

        def rate(step: Any) -> Any:
            step = jnp.asarray(step) // steps_per_epoch * steps_per_epoch if self.by_epoch else step
            return jnp.asarray(peak * multiple(step), jnp.float32)

        return rate

    def _warmed_up(self, curve: optax.Schedule, warmup: int, *, already: int) -> optax.Schedule:
        """`curve` behind `warmup` steps of rise; `already`: how many of its own steps have passed by then."""
        if not warmup:
            return curve
        after = (lambda step: curve(step + already)) if already else curve
        return optax.join_schedules([self._rise(warmup), after], [warmup])

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        """Multiples of the peak as a function of the steps since warm-up ended; `steps` includes the `warmup` steps."""
        raise ConfigError(f"{type(self).__name__} defines no curve(steps=, warmup=)")

    def curve_in_epochs(self, *, steps: int, warmup: int, steps_per_epoch: int) -> optax.Schedule:
        """`curve`, for a schedule whose fields are in epochs: it defines this one in the place of the other."""
        return self.curve(steps=steps, warmup=warmup)

    def _rise(self, warmup: int) -> optax.Schedule:
        start = 1 / (warmup + 1) if self.warmup_start is None else self.warmup_start
        if self.warmup_shape == "constant":
            return lambda step: jnp.full_like(step, start, jnp.float32)
        return optax.linear_schedule(start, 1.0, warmup)

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


def refuse_warmup(schedule: Schedule, see: str) -> None:
    """Raise ValueError where a schedule that has its own rise (`see` names its field) is given a warm-up too."""
    for name in ("warmup", "warmup_start", "warmup_shape", "curve_from"):
        value, neutral = getattr(schedule, name), Schedule.model_fields[name].default
        if value != neutral:
            raise ValueError(
                f"{name} = {value}: {schedule.tag} has its own rise (see {see}); leave {name} at {neutral}"
            )
