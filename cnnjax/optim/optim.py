"""What all optimizers have: configs that build optax transformations.

Lane fields may hold traced scalars (`config.bind`): neither the code path nor the structure of the optimizer's state
depends on their values. An update is a function of gradients, parameters and state alone, with no collective in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
import optax
from pydantic import AfterValidator, BeforeValidator, model_validator

from cnnjax.config import Named, lane, later
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig
from cnnjax.optim import group_times
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
    several patterns that a path matches the first one counts. "linear_probe" stands for those of `linear_probe()`.

    `per`: `learning_rate` is for batches of so many examples, and is scaled to the experiment's `batch_size`
    (`for_batch`); None: it is the peak as it stands. `scaling`: "linear" with the batch (Goyal et al. 2017,
    arXiv:1706.02677), or with its "square_root" (Krizhevsky 2014, arXiv:1404.5997). `layer_decay`: the rate of a layer
    is that of the next one towards the logits times this, in (0, 1]; None: all have the same (BEiT: Bao et al. 2021,
    arXiv:2106.08254). `layer_decay_by`: what a layer is there, a "block" or a "stage" (`cnnjax.models.depth`).

    schedule: how the learning rate goes from step to step, up to its peak and down.
    """

    learning_rate: float = lane(gt=0)
    weight_decay: float = lane(0.0, ge=0)
    decay_skips: Literal["nothing", "norm_and_bias"] = "norm_and_bias"
    clip_norm: float | None = lane(None, gt=0)
    schedule: Schedule = Cosine()
    groups: Annotated[Mapping[str, Group], BeforeValidator(by_path.groups_by_name), AfterValidator(Named)] = later(
        Named()
    )
    per: int | None = later(None, ge=1)
    scaling: Literal["linear", "square_root"] = later("linear")
    layer_decay: float | None = later(None, gt=0, le=1)
    layer_decay_by: Literal["block", "stage"] = later("block")
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
    def _times_of_groups_are_honoured(self) -> Self:
        timed = [pattern for pattern, group in self.groups.items() if group.until is not None or group.schedule]
        if timed and self.evaluates():
            raise ValueError(
                f"groups: {timed[0]!r} has until or a schedule of its own, and {type(self).__name__} makes the weights "
                "that it evaluates of one learning rate for all"
            )
        return self

    @model_validator(mode="after")
    def _rates_are_honoured(self) -> Self:
        if self.scaling != "linear" and self.per is None:
            raise ValueError(f"scaling = {self.scaling!r}: set per, the batch size that learning_rate is for")
        if self.layer_decay is not None and type(self).build is not Optim.build:
            raise ValueError(f"layer_decay: {type(self).__name__} has a build of its own, which knows no layers")
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

    def for_batch(self, batch_size: int) -> Self:
        """The optimizer with the peak that `learning_rate` per `per` examples is in batches of `batch_size`."""
        if self.per is None:
            return self
        share = batch_size / self.per
        peak = self.learning_rate * (share if self.scaling == "linear" else math.sqrt(share))
        return self.model_copy(update={"learning_rate": peak, "per": None, "scaling": "linear"})

    def rule(self, batch_size: int) -> str | None:
        """How the peak follows from `per`, as "0.1 per 256 x 1024 = 0.4"; None where it is `learning_rate`."""
        if self.per is None:
            return None
        peak, root = self.for_batch(batch_size).learning_rate, "" if self.scaling == "linear" else " by the square root"
        return f"{self.learning_rate:g} per {self.per} x {batch_size}{root} = {peak:g}"

    def build(
        self, *, steps: int, steps_per_epoch: int, depths: Mapping[str, int] | None = None
    ) -> optax.GradientTransformation:
        """Clip, `direction`, learning rate, `accumulated`, as one transformation whose updates are added to parameters.

        `steps`: length of the whole training. Its `update` needs the parameters. Frozen ones are hidden from all of it,
        the clipping norm too. `depths`: for `layer_decay`, how many layers each parameter is from the logits, by its
        path; {} takes 0 for all. Raises ConfigError as the schedule does.
        """
        rate = self._rate(steps, steps_per_epoch)
        length = {"steps": steps, "steps_per_epoch": steps_per_epoch}
        scaled = group_times.scaled(self.groups, rate, self.learning_rate, **length)
        parts = [self._clip(), self.direction(), scaled]
        if type(self).accumulated is not Optim.accumulated:
            parts.append(self.accumulated())
        shares = self._shares(depths)

        def around(every: optax.GradientTransformation) -> optax.GradientTransformation:
            whole, ends = self.around(every, rate), group_times.until_their_end(self.groups, **length)
            return whole if ends is None else optax.chain(whole, ends)

        return by_path.grouped(optax.chain(*parts), self.groups, around, shares)

    def _shares(self, depths: Mapping[str, int] | None) -> dict[str, float] | None:
        """The share of the learning rate that each parameter has by its depth, by its path."""
        if self.layer_decay is None:
            return None
        if depths is None:
            raise ConfigError("optim.layer_decay: build() must be told how deep each parameter is (depths)")
        return {path: self.layer_decay**depth for path, depth in depths.items()}

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

    def in_inference(self) -> Callable[[str], bool] | None:
        """Whether the module at a dotted path is trained as at inference; None where none is."""
        return by_path.in_inference(self.groups)

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
        return jnp.asarray(self._rate(steps, steps_per_epoch)(step))

    def _rate(self, steps: int, steps_per_epoch: int) -> optax.Schedule:
        """The learning rate by the step; an error of the schedule says where it stands."""
        try:
            return self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)
        except ConfigError as error:
            where = "optim." if str(error).startswith("schedule") else ""
            raise ConfigError(f"{where}{error}", path=error.path or "optim.schedule") from error.__cause__
