"""Half cosines: one over the training, and one after the other with restarts between them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from pydantic import Field

from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.optim.schedules.schedule import Schedule


class Cosine(Schedule):
    """Half a cosine from the peak to `final` (a fraction of the peak, in [0, 1]; Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts). `final` would be the rate of the step after the last.
    """

    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return half_cosine(steps - warmup, final=self.final)


def half_cosine(steps: float, *, final: Any = 0.0) -> optax.Schedule:
    """From 1 to `final` in `steps`, computed in float32."""
    curve = optax.cosine_decay_schedule(1.0, steps, alpha=final)  # pyright: ignore[reportArgumentType]
    return lambda step: curve(jnp.asarray(step, jnp.float32))


class CosineRestarts(Schedule):
    """Half a cosine from the peak to `final`, again and again (SGDR: Loshchilov and Hutter 2017, arXiv:1608.03983).

    `first`: epochs of the first cycle (greater than 0, fractions allowed, at least one step, no longer than the
    training behind warm-up). `multiplier`: how many times as long each next cycle is (at least 1). `decay`: what the
    peak is multiplied by at each restart, in (0, 1]. `final`: a fraction of the first peak, in [0, 1], the same in
    every cycle. Cycles begin at whole steps. The last one may be cut off by the end of the training, at a high rate:
    with `multiplier` 2, trainings of `first` times 1, 3, 7, 15 epochs end with a cycle. As PyTorch's
    CosineAnnealingWarmRestarts (T_0, T_mult) and timm's CosineLRScheduler (t_initial, cycle_mul, cycle_decay).
    """

    first: float = Field(default=10.0, gt=0)
    multiplier: float = Field(default=1.0, ge=1)
    decay: float = lane(1.0, gt=0, le=1)
    final: float = lane(0.0, ge=0, le=1)

    def curve_in_epochs(self, *, steps: int, warmup: int, steps_per_epoch: int) -> optax.Schedule:
        length, first = steps - warmup, max(self.first * steps_per_epoch, 1.0)
        if round(first) > length:
            raise ConfigError(
                f"schedule.first = {self.first}: a first cycle of {round(first)} steps, but the training has {length} "
                "behind warm-up, so that it would never restart; shorten the cycle, or take cosine"
            )
        starts = self._starts(first, length)

        def curve(step: Any) -> Any:
            step = jnp.asarray(step, jnp.int32)
            cycle = jnp.searchsorted(starts[:-1], step, side="right").astype(jnp.int32) - 1
            begun, ended = jnp.asarray(starts)[cycle], jnp.asarray(starts)[cycle + 1]
            passed = jnp.minimum((step - begun).astype(jnp.float32) / (ended - begun).astype(jnp.float32), 1.0)
            peak = lax.pow(jnp.asarray(self.decay, jnp.float32), cycle)
            return self.final + (peak - self.final) * 0.5 * (1 + jnp.cos(jnp.pi * passed))

        return curve

    def _starts(self, first: float, length: int) -> np.ndarray:
        """The first steps of all cycles that begin in the training, and that of the next one."""
        starts, cycle = [0.0], first
        while starts[-1] < length:
            starts.append(starts[-1] + cycle)
            cycle *= self.multiplier
        # Cycles that would begin behind the last step do not: steps from there on stay in the last one.
        return np.rint(starts[:-1] if round(starts[-2]) >= length else starts).astype(np.int32)
