"""One cycle: up to the peak and down again."""

from __future__ import annotations

from typing import Any, Literal, Self

import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from cnnjax.config import lane, later
from cnnjax.errors import ConfigError
from cnnjax.optim.schedules.cosine import half_cosine
from cnnjax.optim.schedules.schedule import Schedule, refuse_warmup


class OneCycle(Schedule):
    """Up from `start` to the peak at `peak_at`, then down to `final` (Smith and Topin 2017, arXiv:1708.07120).

    `peak_at`: fraction of the training in (0, 1). `start`, `final`: fractions of the peak in [0, 1]. `shape`: half
    cosines or straight lines. The rise is the warm-up, so `warmup` must stay 0.

    `three_phase`: down to `start` in as many steps as up, then on to `final`; `peak_at` below 0.5. `final_at`: where
    `final` is the rate, "after_last" the step after the last, with the peak at the rounded step `peak_at` x steps; or
    "last", with the peak at `peak_at` x steps - 1, between two steps where that is no whole number. PyTorch's
    OneCycleLR is "last" with start = 1 / div_factor and final = start / final_div_factor; `momentum` does not cycle.
    """

    peak_at: float = Field(default=0.3, gt=0, lt=1)
    start: float = lane(0.04, ge=0, le=1)
    final: float = lane(0.0, ge=0, le=1)
    shape: Literal["cosine", "linear"] = "cosine"
    three_phase: bool = later(False)
    final_at: Literal["after_last", "last"] = later("after_last")

    @model_validator(mode="after")
    def _one_rise(self) -> Self:
        refuse_warmup(self, "peak_at")
        if self.three_phase and self.peak_at >= 0.5:
            raise ValueError(f"peak_at = {self.peak_at}: below 0.5 with three_phase, which falls as long as it rises")
        return self

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        top, end = self._ends(steps)
        up = self._fade(top)

        def rise(step: Any) -> Any:
            return 1 + (self.start - 1) * up(step)

        def back(step: Any) -> Any:
            return self.start + (1 - self.start) * up(step)

        if self.three_phase:
            phases, ends = [rise, back, self._fall(self.start, end - 2 * top)], [top, 2 * top]
        else:
            phases, ends = [rise, self._fall(1, end - top)], [top]
        # Not optax.cosine_onecycle_schedule: it multiplies its values up from the first, which then cannot be 0.
        curve = optax.join_schedules(phases, ends)  # pyright: ignore[reportArgumentType]
        if self.final_at == "after_last":
            return curve
        return lambda step: curve(jnp.asarray(step, jnp.float32))  # ends between two steps

    def _ends(self, steps: int) -> tuple[float, float]:
        """The steps of the peak and of `final`."""
        if self.final_at == "after_last":
            return min(max(round(self.peak_at * steps), 1), steps), steps
        top, end = self.peak_at * steps - 1, steps - 1
        if not 0 < top < end:
            raise ConfigError(
                f"schedule: a cycle that ends at the last step has its peak at {self.peak_at} x {steps} - 1 = {top:g}, "
                f"which is not between 0 and the last of {steps} steps; train longer, or final_at = 'after_last'"
            )
        return top, end

    def _fall(self, start: Any, steps: float) -> optax.Schedule:
        """From `start` to `final`, in at least a step."""
        down = self._fade(max(steps, 1))
        return lambda step: self.final + (start - self.final) * down(step)

    def _fade(self, steps: float) -> optax.Schedule:
        """From 1 to 0 in `steps`."""
        if self.shape == "linear":
            return optax.linear_schedule(1.0, 0.0, steps)  # pyright: ignore[reportArgumentType]
        return half_cosine(steps)
