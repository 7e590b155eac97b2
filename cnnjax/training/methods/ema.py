"""Exponential moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, PrivateAttr, field_validator, model_validator

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

    share: the average is over that share of the training, greater than 0 and at most 1, whatever its length and its
    batch: 1 - d is `every` / (`share` x steps), or 1 where that is more; `decay` is left at its default then. What
    torchvision's references make of `--model-ema-decay` a, (1 - a) x batch x `every` / epochs, is a `share` of
    1 / ((1 - a) x examples). from_epoch: until so many epochs have passed, and at the first averaging after, the
    average is a copy of the weights, so that the initial ones are forgotten; None: it starts at these. counted: the
    `every`-th step is that of the "training"; or each "epoch" begins anew with an averaging after its first step, as
    torchvision's do. An epoch is of whole batches, as a schedule's.

    batch_statistics: "averaged" as the weights are, or estimated "anew" for the average (`SWA`).

    evaluate: "beside" measures the average too, under names with "ema" (`validation_ema_accuracy`); "instead" measures
    it alone, and predictions and exports are the average's.
    """

    decay: float = lane(0.999, gt=0, lt=1)
    warmup: bool = False
    every: int = Field(default=1, ge=1)
    evaluate: Measured = "beside"
    batch_statistics: Literal["averaged", "anew"] = later("averaged")
    share: float | None = later(None, gt=0, le=1)
    from_epoch: float | None = later(None, ge=0)
    counted: Literal["training", "epoch"] = later("training")
    _length: tuple[int, int] | None = PrivateAttr(None)

    @field_validator("decay")
    @classmethod
    def _moves(cls, decay: float) -> float:
        if np.float32(decay) == 1:
            raise ValueError("must be less than 1 in float32 too, with which a step computes")
        return decay

    @model_validator(mode="after")
    def _one_decay(self) -> Self:
        default = type(self).model_fields["decay"].default
        if self.share is not None and self.decay != default:
            raise ValueError(
                f"share = {self.share:g}: the decay follows from it, so decay = {self.decay:g} would have no effect; "
                f"leave decay at {default}"
            )
        for name in ("from_epoch", "counted"):
            value = getattr(self, name)
            if self.warmup and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"warmup: counts its averagings from the first step of the training; not with {name} = {value!r}"
                )
        return self

    @property
    def measured(self) -> Measured:
        return self.evaluate

    @property
    def statistics(self) -> Statistics:
        return "anew" if self.batch_statistics == "anew" else "own"

    def check(self, *, steps: int, steps_per_epoch: int) -> None:
        """Raise ConfigError for an average over more steps than there are, and for one that never begins."""
        if self.from_epoch is not None:
            if self.from_epoch * steps_per_epoch >= steps:
                raise ConfigError(
                    f"from_epoch = {self.from_epoch:g}: that is step {self.from_epoch * steps_per_epoch:,.0f}, and the "
                    f"training has {steps:,}: the average would be a copy of the weights throughout; begin earlier"
                )
            return
        if self.share is not None:
            return
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

    def lasting(self, *, steps: int, steps_per_epoch: int) -> Self:
        """The method that knows its share, and where epochs begin."""
        copy = self.model_copy()
        copy._length = steps, steps_per_epoch
        return copy

    def as_in_a_step(self) -> None:
        super(EMA, self.lasting(steps=8, steps_per_epoch=4)).as_in_a_step()

    def init(self, params: Any, statistics: Mapping[str, Any]) -> Any:
        # A state's buffers are given away one by one, so no two leaves may share one.
        return jax.tree.map(jnp.copy, _kept(params, statistics))

    def after(self, own: Any, before: TrainState, after: TrainState) -> tuple[Any, TrainState]:
        share = self._moved(after.step)

        def average(mean: jax.Array, value: jax.Array) -> jax.Array:
            if not jnp.issubdtype(mean.dtype, jnp.floating):
                return value
            return mean + share.astype(mean.dtype) * (value - mean)

        return jax.tree.map(average, own, _kept(after.params, after.statistics)), after

    def _moved(self, step: jax.Array) -> jax.Array:
        """What the new weights count after `step` steps: 1 - d, 1 for a copy, or 0 where nothing is averaged then."""
        share = 1 - self._decay(step)
        before = step - 1
        if self.from_epoch is not None:
            copies = before.astype(jnp.float32) <= self.from_epoch * self._of_training()[1]
            share = jnp.where(copies, jnp.float32(1), share)
        if self.every == 1:
            return share
        passed = step if self.counted == "training" else before % self._of_training()[1]
        return jnp.where(passed % self.every == 0, share, jnp.float32(0))

    def _decay(self, step: jax.Array) -> jax.Array:
        if self.share is not None:
            return jnp.float32(max(0.0, 1 - self.every / (self.share * self._of_training()[0])))
        decay = jnp.asarray(self.decay, jnp.float32)
        if self.warmup:
            made = (step // self.every - 1).astype(jnp.float32)
            decay = jnp.minimum(decay, (1 + made) / (10 + made))
        return decay

    def _of_training(self) -> tuple[int, int]:
        """Its steps, and those of an epoch."""
        if self._length is None:
            raise ConfigError("ema averages by the length of the training here: use what lasting returns")
        return self._length

    def evaluated(self, own: Any, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**variables, **own}


def _kept(params: Any, statistics: Mapping[str, Any]) -> dict[str, Any]:
    """All variables by collection, without the empty ones."""
    return {name: held for name, held in {"params": params, **statistics}.items() if jax.tree.leaves(held)}
