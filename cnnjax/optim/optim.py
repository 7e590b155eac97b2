"""What all optimizers have: configs that build optax transformations.

Lane fields may hold traced scalars (`config.bind`): neither the code path nor the structure of the optimizer's state
depends on their values. An update is a function of gradients, parameters and state alone, with no collective in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
import optax
from pydantic import AfterValidator, model_validator

from cnnjax.config import Named, lane, later
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig
from cnnjax.optim import groups as by_path
from cnnjax.optim.decay_mask import is_decayed
from cnnjax.optim.groups import Group
from cnnjax.optim.schedules import Cosine, Schedule


class Optim(StepConfig, union="name"):
    """An optimizer with its schedule. One of your own defines `direction`, or `build` for everything.

    `learning_rate`: the schedule's peak, greater than 0. `weight_decay`: at least 0. `decay_skips`: "norm_and_bias"
    leaves out biases and scales, which are known by their names (`is_decayed`), "nothing" decays all. `clip_norm`:
    gradients with a larger global norm are scaled to it before anything else (greater than 0; None does not clip).
    groups: what differs for some parameters, by patterns on their paths (`Group`): `{"stem.*": {"frozen": True}}`. Of
    several patterns that a path matches the first one counts.
    """

    learning_rate: float = lane(gt=0)
    weight_decay: float = lane(0.0, ge=0)
    decay_skips: Literal["nothing", "norm_and_bias"] = "norm_and_bias"
    clip_norm: float | None = lane(None, gt=0)
    schedule: Schedule = Cosine()
    groups: Annotated[Mapping[str, Group], AfterValidator(Named)] = later(Named())

    @model_validator(mode="after")
    def _groups_are_honoured(self) -> Self:
        if self.groups and type(self).build is not Optim.build:
            raise ValueError(f"groups: {type(self).__name__} has a build of its own, which knows no groups")
        changed = [pattern for pattern, group in self.groups.items() if group.weight_decay != 1]
        if changed and not self._adds_decay():
            raise ValueError(
                f"groups: {changed[0]!r} changes weight_decay, which {type(self).__name__} does not add by "
                "self.decay() in its direction"
            )
        return self

    def _adds_decay(self) -> bool:
        """Whether `direction` adds what `decay` makes here, and so knows of groups."""
        if type(self).decay is not Optim.decay:
            return False
        copy, called = self.model_copy(), []
        vars(copy)["decay"] = lambda: called.append(True) or optax.identity()
        copy.direction()
        return bool(called)

    def as_in_a_step(self) -> None:
        optimizer, params = self.build(steps=8, steps_per_epoch=4), {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
        optimizer.update(params, optimizer.init(params), params)

    def build(self, *, steps: int, steps_per_epoch: int) -> optax.GradientTransformation:
        """Clip, `direction`, learning rate, as one optax transformation whose updates are added to the parameters.

        `steps`: length of the whole training. Its `update` needs the parameters. Frozen ones are hidden from all of it,
        the clipping norm too. Raises ConfigError as the schedule does.
        """
        clip = optax.identity() if self.clip_norm is None else optax.clip_by_global_norm(self.clip_norm)
        rate = self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)
        every = optax.chain(clip, self.direction(), optax.scale_by_learning_rate(rate))
        return by_path.grouped(every, self.groups)

    def without_frozen(self, params: Any) -> Any:
        """`params` in which no gradient reaches those that are frozen."""
        return by_path.without_frozen(self.groups, params)

    def direction(self) -> optax.GradientTransformation:
        """The step before it is multiplied by minus the learning rate, weight decay included."""
        raise ConfigError(f"{type(self).__name__} defines no direction()")

    def decay(self) -> optax.GradientTransformation:
        """Adds `weight_decay`, times the multiplier of its group, times each parameter that `decay_skips` leaves in."""
        chosen = None if self.decay_skips == "nothing" else is_decayed
        if all(group.weight_decay == 1 for group in self.groups.values()):
            return optax.add_decayed_weights(self.weight_decay, chosen)
        return by_path.decayed(self.weight_decay, self.groups, chosen)

    def learning_rate_at(self, step: Any, *, steps: int, steps_per_epoch: int) -> jax.Array:
        """The learning rate of `step` (from 0; a number or an array), float32, for logs and pictures."""
        return jnp.asarray(self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)(step))
