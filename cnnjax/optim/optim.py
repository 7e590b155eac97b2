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
from cnnjax.optim.clipping import adaptive_grad_clip
from cnnjax.optim.decay_mask import is_decayed
from cnnjax.optim.groups import Group
from cnnjax.optim.schedules import Cosine, Schedule


class Optim(StepConfig, union="name"):
    """An optimizer with its schedule. One of your own defines `direction`, or `build` for everything.

    `learning_rate`: the schedule's peak, greater than 0. `weight_decay`: at least 0. `decay_skips`: "norm_and_bias"
    leaves out biases and scales, which are known by their names (`is_decayed`), "nothing" decays all. `clip_norm`:
    gradients with a larger global norm are scaled to it before anything else (greater than 0; None does not clip).
    `adaptive_clip` clips each unit's gradient at that multiple of the norm of the unit's parameters instead
    (`clipping.adaptive_grad_clip`; greater than 0), but for what a pattern of `adaptive_clip_skips` matches, which by
    default is the output layer, `logits`; a pattern that matches nothing is refused when an experiment is checked.
    groups: what differs for some parameters, by patterns on their paths (`Group`): `{"stem.*": {"frozen": True}}`. Of
    several patterns that a path matches the first one counts.
    """

    learning_rate: float = lane(gt=0)
    weight_decay: float = lane(0.0, ge=0)
    decay_skips: Literal["nothing", "norm_and_bias"] = "norm_and_bias"
    clip_norm: float | None = lane(None, gt=0)
    schedule: Schedule = Cosine()
    groups: Annotated[Mapping[str, Group], AfterValidator(Named)] = later(Named())
    adaptive_clip: float | None = lane(None, later=True, gt=0)
    adaptive_clip_skips: tuple[str, ...] = later(("*logits.*",))

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

    @model_validator(mode="after")
    def _one_clip(self) -> Self:
        if self.clip_norm is not None and self.adaptive_clip is not None:
            raise ValueError(
                f"clip_norm = {self.clip_norm} and adaptive_clip = {self.adaptive_clip}: two clips, of "
                "which one would hide what the other does; leave one at None"
            )
        if self.adaptive_clip is not None and type(self).build is not Optim.build:
            raise ValueError(f"adaptive_clip: {type(self).__name__} has a build of its own, which does not clip")
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
        """Clip, `direction`, learning rate, `accumulated`, as one transformation whose updates are added to parameters.

        `steps`: length of the whole training. Its `update` needs the parameters. Frozen ones are hidden from all of it,
        the clipping norm too. Raises ConfigError as the schedule does.
        """
        rate = self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)
        parts = [self._clip(), self.direction(), optax.scale_by_learning_rate(rate)]
        if type(self).accumulated is not Optim.accumulated:
            parts.append(self.accumulated())
        return by_path.grouped(optax.chain(*parts), self.groups, around=lambda every: self.around(every, rate))

    def _clip(self) -> optax.GradientTransformation:
        if self.adaptive_clip is not None:
            return adaptive_grad_clip(self.adaptive_clip, self.adaptive_clip_skips)
        return optax.identity() if self.clip_norm is None else optax.clip_by_global_norm(self.clip_norm)

    def check_params(self, params: Any) -> None:
        """Raise ConfigError for patterns of paths that match none of these parameters, which are those of a network."""
        by_path.check_groups(self.groups, params)
        if self.adaptive_clip is not None:
            by_path.check_patterns("optim.adaptive_clip_skips", self.adaptive_clip_skips, params)

    def without_frozen(self, params: Any) -> Any:
        """`params` in which no gradient reaches those that are frozen."""
        return by_path.without_frozen(self.groups, params)

    def direction(self) -> optax.GradientTransformation:
        """The step before it is multiplied by minus the learning rate, weight decay included."""
        raise ConfigError(f"{type(self).__name__} defines no direction()")

    def accumulated(self) -> optax.GradientTransformation:
        """What is done to the step once it is multiplied by minus the learning rate: nothing.

        An optimizer whose momentum holds the learning rates of earlier steps has it here.
        """
        return optax.identity()

    def around(self, every: optax.GradientTransformation, rate: optax.Schedule) -> optax.GradientTransformation:
        """What is made of the whole update, the learning rates of groups included: nothing else.

        every: updates that are added to parameters. rate: the learning rate by the step, from 0.
        """
        return every

    def decays(self, params: Any) -> Any:
        """The tree of `params` with whether `decay_skips` leaves each one in."""
        return jax.tree.map(lambda _: True, params) if self.decay_skips == "nothing" else is_decayed(params)

    def decay(self) -> optax.GradientTransformation:
        """Adds `weight_decay`, times the multiplier of its group, times each parameter that `decay_skips` leaves in."""
        chosen = None if self.decay_skips == "nothing" else is_decayed
        if all(group.weight_decay == 1 for group in self.groups.values()):
            return optax.add_decayed_weights(self.weight_decay, chosen)
        return by_path.decayed(self.weight_decay, self.groups, chosen)

    def evaluated(self, opt_state: Any, params: Any) -> Any | None:
        """The weights to evaluate, shaped as `params`; None of an optimizer that has none but those it trains.

        They are evaluated instead of `params`, with batch statistics estimated anew, for those of the training are of
        other weights. opt_state: that of `build`'s transformation.
        """
        return None

    @classmethod
    def evaluates(cls) -> bool:
        """Whether there are weights to evaluate instead of those that are trained."""
        return cls.evaluated is not Optim.evaluated

    def learning_rate_at(self, step: Any, *, steps: int, steps_per_epoch: int) -> jax.Array:
        """The learning rate of `step` (from 0; a number or an array), float32, for logs and pictures."""
        return jnp.asarray(self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)(step))
