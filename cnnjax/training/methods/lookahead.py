"""Lookahead: slow weights behind those that an optimizer moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.training.methods.method import Method
from cnnjax.training.state import TrainState


class Lookahead(Method, tag="lookahead"):
    """Slow weights that follow those of any optimizer (Zhang et al. 2019, arXiv:1907.08610, algorithm 1).

    After every `every`-th step (at least 1; k in the paper) the slow weights s, which start as the initial ones, become
    s + `share` (w - s), and the trained weights w go back to them. `share` (alpha in the paper) is above 0 and at most
    1, where nothing changes. The optimizer's own state stays as it is. The trained weights are evaluated: after a
    multiple of `every` steps they are the slow ones.
    """

    share: float = lane(0.5, gt=0, le=1)
    every: int = Field(default=5, ge=1)

    @property
    def moves_weights(self) -> bool:
        return True

    def check(self, *, steps: int, steps_per_epoch: int) -> None:
        """Raise ConfigError where the slow weights would never move."""
        if self.every > steps:
            raise ConfigError(f"every = {self.every}: the slow weights never move, for the training has {steps} steps")

    def init(self, params: Any, statistics: Mapping[str, Any]) -> Any:
        # A state's buffers are given away one by one, so no two leaves may share one.
        return jax.tree.map(jnp.copy, params)

    def after(self, own: Any, before: TrainState, after: TrainState) -> tuple[Any, TrainState]:
        ends = after.step % self.every == 0

        def moved(slow: jax.Array, fast: jax.Array) -> jax.Array:
            return jnp.where(ends, slow + jnp.asarray(self.share, slow.dtype) * (fast - slow), slow)

        own = jax.tree.map(moved, own, after.params)
        params = jax.tree.map(lambda slow, fast: jnp.where(ends, slow, fast), own, after.params)
        return own, after.replace(params=params)
