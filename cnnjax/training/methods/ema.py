"""Exponential moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, field_validator

from cnnjax.config import lane, later
from cnnjax.errors import ConfigError
from cnnjax.training.methods.method import Measured, Method, Statistics
from cnnjax.training.state import TrainState


class EMA(Method, tag="ema"):
    """The exponential moving average of the weights over the training (Polyak and Juditsky 1992).

    After every `every`-th step (at least 1) the average e of each parameter p becomes e + (1 - d) (p - e); it starts at
    the initial weights. d is `decay`, between 0 and 1, or with `warmup` min(decay, (1 + t) / (10 + t)) where t
    averagings were made before, as TensorFlow's ExponentialMovingAverage with `num_updates`: so the initial weights are
    soon forgotten. What else the network keeps (running statistics of batch normalization) is averaged in the same way;
    whole numbers are the newest. The training is the same as without. An average over more steps, `every` / (1 - d) of
    them, than the training has is refused without `warmup`, for it would be mostly of the initial weights.

    batch_statistics: "averaged" as the weights are, or estimated "anew" for the average (`SWA`).

    evaluate: "beside" measures the average too, under names with "ema" (`validation_ema_accuracy`); "instead" measures
    it alone, and predictions and exports are the average's.
    """

    decay: float = lane(0.999, gt=0, lt=1)
    warmup: bool = False
    every: int = Field(default=1, ge=1)
    evaluate: Measured = "beside"
    batch_statistics: Literal["averaged", "anew"] = later("averaged")

    @field_validator("decay")
    @classmethod
    def _moves(cls, decay: float) -> float:
        if np.float32(decay) == 1:
            raise ValueError("must be less than 1 in float32 too, with which a step computes")
        return decay

    @property
    def measured(self) -> Measured:
        return self.evaluate

    @property
    def statistics(self) -> Statistics:
        return "anew" if self.batch_statistics == "anew" else "own"

    def check(self, *, steps: int, steps_per_epoch: int) -> None:
        """Raise ConfigError for an average over more steps than there are."""
        window = self.every / (1 - self.decay)
        if window > steps and not self.warmup:
            of = f"{self.every} / (1 - {self.decay:g})" if self.every > 1 else f"1 / (1 - {self.decay:g})"
            left = self.decay ** (steps // self.every)
            longest = 1 - self.every / steps
            less = f"decay of at most {math.floor(longest * 1e4) / 1e4:g}, or " if longest > 0 else ""
            raise ConfigError(
                f"decay = {self.decay:g}: the average is over about {of} = {window:,.0f} steps and the training has "
                f"{steps:,}, so that {left:.0%} of it would be the initial weights; take {less}warmup=True, which "
                "shortens it at first"
            )

    def init(self, params: Any, statistics: Mapping[str, Any]) -> Any:
        # A state's buffers are given away one by one, so no two leaves may share one.
        return jax.tree.map(jnp.copy, _kept(params, statistics))

    def after(self, own: Any, before: TrainState, after: TrainState) -> tuple[Any, TrainState]:
        share = self._share(after.step)

        def average(mean: jax.Array, value: jax.Array) -> jax.Array:
            if not jnp.issubdtype(mean.dtype, jnp.floating):
                return value
            return mean + share.astype(mean.dtype) * (value - mean)

        return jax.tree.map(average, own, _kept(after.params, after.statistics)), after

    def _share(self, step: jax.Array) -> jax.Array:
        """What the new weights count after `step` steps: 1 - d, or 0 where nothing is averaged then."""
        decay = jnp.asarray(self.decay, jnp.float32)
        if self.warmup:
            made = (step // self.every - 1).astype(jnp.float32)
            decay = jnp.minimum(decay, (1 + made) / (10 + made))
        share = 1 - decay
        return share if self.every == 1 else jnp.where(step % self.every == 0, share, jnp.float32(0))

    def evaluated(self, own: Any, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**variables, **own}


def _kept(params: Any, statistics: Mapping[str, Any]) -> dict[str, Any]:
    """All variables by collection, without the empty ones."""
    return {name: held for name, held in {"params": params, **statistics}.items() if jax.tree.leaves(held)}
