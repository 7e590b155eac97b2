"""Lookahead: slow weights behind those that an optimizer moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from cnnjax.config import lane, later
from cnnjax.errors import ConfigError
from cnnjax.training.methods.method import Method
from cnnjax.training.state import TrainState


class Lookahead(Method, tag="lookahead"):
    """Slow weights that follow those of any optimizer (Zhang et al. 2019, arXiv:1907.08610, algorithm 1).

    After every `every`-th step (at least 1; k in the paper) the slow weights s, which start as the initial ones, become
    s + `share` (w - s), and the trained weights w go back to them. `share` (alpha in the paper) is above 0 and at most
    1, where nothing changes. The optimizer's own state stays as it is. The trained weights are evaluated: after a
    multiple of `every` steps they are the slow ones.

    final_share: where given, the share after t of T steps is `share` + (`final_share` - `share`) (t / T)^`power`; above
    0 and at most 1. `power` is greater than 0. batch_statistics: "trained", as the network leaves them, or "slow":
    slow ones follow them as the weights', and they go back to these. ends_slow: after the last step the weights go
    back to the slow ones as they stand, also where it is no multiple of `every`. over_steps: T, which is also the last
    step; None, the default, takes the training's length. airbench has `share` 1, `final_share`
    1 - 0.95^5, `power` 3, slow batch statistics and `ends_slow` (Jordan 2024, arXiv:2404.00498, section 3.4).
    """

    share: float = lane(0.5, gt=0, le=1)
    every: int = Field(default=5, ge=1)
    final_share: float | None = lane(None, later=True, gt=0, le=1)
    power: float = later(1.0, gt=0)
    batch_statistics: Literal["trained", "slow"] = later("trained")
    ends_slow: bool = later(False)
    over_steps: int | None = later(None, ge=1)

    @model_validator(mode="after")
    def _power_of_something(self) -> Self:
        if self.final_share is None and self.power != 1:
            raise ValueError(f"power = {self.power:g}: the share stays as it is without final_share")
        return self

    @property
    def moves_weights(self) -> bool:
        return True

    def check(self, *, steps: int, steps_per_epoch: int) -> None:
        """Raise ConfigError where the slow weights would never move."""
        if self.every > steps:
            raise ConfigError(f"every = {self.every}: the slow weights never move, for the training has {steps} steps")

    def lasting(self, *, steps: int, steps_per_epoch: int) -> Self:
        """The method that knows when the training ends."""
        return self if self.over_steps is not None else self.model_copy(update={"over_steps": steps})

    def init(self, params: Any, statistics: Mapping[str, Any]) -> Any:
        # A state's buffers are given away one by one, so no two leaves may share one.
        return jax.tree.map(jnp.copy, self._followed(params, statistics.get("batch_stats", {})))

    def after(self, own: Any, before: TrainState, after: TrainState) -> tuple[Any, TrainState]:
        share, now = self._share(after.step), after.step % self.every == 0
        back = now | (after.step == self._length) if self.ends_slow else now
        fast = self._followed(after.params, after.batch_stats)

        def moved(slow: jax.Array, fast: jax.Array) -> jax.Array:
            return jnp.where(now, slow + jnp.asarray(share, slow.dtype) * (fast - slow), slow)

        own = jax.tree.map(moved, own, fast)
        pulled = jax.tree.map(lambda slow, fast: jnp.where(back, slow, fast), own, fast)
        if self.batch_statistics == "trained":
            return own, after.replace(params=pulled)
        return own, after.replace(**pulled)

    def _followed(self, params: Any, batch_stats: Any) -> Any:
        """What slow values follow, as the method keeps them."""
        return params if self.batch_statistics == "trained" else {"params": params, "batch_stats": batch_stats}

    def _share(self, step: jax.Array) -> Any:
        if self.final_share is None:
            return self.share
        return self.share + (self.final_share - self.share) * (step / self._length) ** self.power

    @property
    def _length(self) -> int:
        """Steps of the training."""
        if self.over_steps is None:
            raise ConfigError(
                "lookahead's final_share and ends_slow depend on the length of the training: use what lasting returns"
            )
        return self.over_steps
