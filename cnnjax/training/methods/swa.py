"""Stochastic weight averaging."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

import jax
import jax.numpy as jnp
from pydantic import Field, PrivateAttr

from cnnjax.errors import ConfigError
from cnnjax.training.methods.method import Measured, Method, Statistics
from cnnjax.training.state import TrainState

Share = Annotated[float, Field(ge=0, lt=1)]
Epochs = Annotated[int, Field(ge=0)]


class SWA(Method, tag="swa"):
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407, algorithm 1).

    The equal average of the weights at several times of the training: every `every` epochs (greater than 0, parts of
    epochs too; the cycle of a cyclic learning rate), counted back from the last step, none before `start`: a share of
    the training (float, from 0 to below 1) or a number of epochs (int). An epoch is of whole batches, as a schedule's.
    Until the first of them is there, the trained weights stand in its place. The training is the same as without.

    Batch statistics are estimated anew for the average, as `torch.optim.swa_utils.update_bn` does, from training images
    as they are evaluated (not augmented), in the order of the first epoch: `Experiment.statistics_batches` batches. The
    other variables of the network are those of the trained weights.

    evaluate: "beside" measures the average too, under names with "swa" (`validation_swa_accuracy`); "instead" measures
    it alone, and predictions and exports are the average's.
    """

    start: Epochs | Share = 0.75
    every: float = Field(default=1.0, gt=0)
    evaluate: Measured = "beside"
    _steps: tuple[int, int, int] | None = PrivateAttr(None)

    @property
    def measured(self) -> Measured:
        return self.evaluate

    @property
    def statistics(self) -> Statistics:
        return "anew"

    def steps_averaged(self, *, steps: int, steps_per_epoch: int) -> range:
        """After how many steps the weights are averaged."""
        first, period = self._first(steps, steps_per_epoch), max(1, round(self.every * steps_per_epoch))
        return range(first + (steps - first) % period, steps + 1, period)

    def _first(self, steps: int, steps_per_epoch: int) -> int:
        """The steps of `start`."""
        return self.start * steps_per_epoch if isinstance(self.start, int) else math.ceil(self.start * steps)

    def check(self, *, steps: int, steps_per_epoch: int) -> None:
        """Raise ConfigError for a start after the training and for fewer than two weights to average."""
        first = self._first(steps, steps_per_epoch)
        if first >= steps:
            raise ConfigError(
                f"start = {self.start}: that is step {first} ({self.start} epochs of {steps_per_epoch} steps), and the "
                f"training has {steps}; start earlier"
            )
        if len(self.steps_averaged(steps=steps, steps_per_epoch=steps_per_epoch)) < 2:
            raise ConfigError(
                f"start = {self.start}, every = {self.every:g}: of the {steps} steps only the last is averaged, for "
                f"between step {first} and it are no {self.every:g} epochs of {steps_per_epoch} steps; start earlier, "
                "or average oftener"
            )

    def lasting(self, *, steps: int, steps_per_epoch: int) -> Self:
        """The method that knows after which steps it averages."""
        copy, averaged = self.model_copy(), self.steps_averaged(steps=steps, steps_per_epoch=steps_per_epoch)
        copy._steps = averaged.start, averaged.stop, averaged.step
        return copy

    def init(self, params: Any, statistics: Mapping[str, Any]) -> Any:
        # A state's buffers are given away one by one, so no two leaves may share one.
        return {"weights": jax.tree.map(jnp.copy, params), "averaged": jnp.int32(0)}

    def after(self, own: Any, before: TrainState, after: TrainState) -> tuple[Any, TrainState]:
        if self._steps is None:
            raise ConfigError(
                "swa averages at steps that depend on the length of the training: use what lasting returns"
            )
        first, stop, period = self._steps
        step, count = after.step, own["averaged"]
        now = (step >= first) & (step < stop) & ((step - first) % period == 0)

        def average(mean: jax.Array, value: jax.Array) -> jax.Array:
            moved = mean + (value - mean) / (count + 1).astype(mean.dtype)
            return jnp.where(now, jnp.where(count == 0, value, moved), mean)

        weights = jax.tree.map(average, own["weights"], after.params)
        return {"weights": weights, "averaged": count + now.astype(jnp.int32)}, after

    def evaluated(self, own: Any, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        begun = own["averaged"] > 0
        params = jax.tree.map(lambda mean, value: jnp.where(begun, mean, value), own["weights"], variables["params"])
        return {**variables, "params": params}
