"""Groups of parameters with a learning rate over time of their own, and groups that stop before the training ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cnnjax.config import Named
from cnnjax.optim.groups import Group, Groups, Path, dotted, pattern_at
from cnnjax.optim.schedules import Constant


def scaled(
    groups: Groups, rate: optax.Schedule, peak: Any, *, steps: int, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Times minus the learning rate: `rate` by the step, or that of the group's own schedule from the same `peak`."""
    own: dict[str | None, optax.Schedule] = {}
    for pattern, group in groups.items():
        if group.schedule is not None:
            moving = max(1, group.steps(steps=steps, steps_per_epoch=steps_per_epoch))
            own[pattern] = group.schedule.build(peak, steps=moving, steps_per_epoch=steps_per_epoch)
    if not own:
        return optax.scale_by_learning_rate(rate)

    def change(pattern: str | None, update: jax.Array, step: jax.Array) -> jax.Array:
        return update * -jnp.asarray(own.get(pattern, rate)(step), update.dtype)

    return _by_step(groups, change)


def until_their_end(groups: Groups, *, steps: int, steps_per_epoch: int) -> optax.GradientTransformation | None:
    """Updates that change no bit of the parameters of a group after its `until`; None where no group has one."""
    ends: dict[str | None, int] = {
        pattern: group.steps(steps=steps, steps_per_epoch=steps_per_epoch)
        for pattern, group in groups.items()
        if group.until is not None
    }
    if not ends:
        return None

    def change(pattern: str | None, update: jax.Array, step: jax.Array) -> jax.Array:
        return jnp.where(step < ends[pattern], update, -0.0) if pattern in ends else update

    return _by_step(groups, change)


def _by_step(
    groups: Groups, change: Callable[[str | None, jax.Array, jax.Array], jax.Array]
) -> optax.GradientTransformation:
    """(the group's pattern, an update, the step's number from 0) -> the update, of every parameter."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        def changed(path: Path, update: jax.Array) -> jax.Array:
            return change(pattern_at(groups, dotted(path)), update, state.count)

        stepped = optax.ScaleByScheduleState(count=optax.safe_increment(state.count))
        return jax.tree_util.tree_map_with_path(changed, updates), stepped

    return optax.GradientTransformation(lambda params: optax.ScaleByScheduleState(jnp.zeros([], jnp.int32)), update)


def without_length(groups: Groups) -> Named[Group]:
    """The groups with an optimizer's state of the same form in a training of any length."""
    return Named(
        {
            pattern: group.model_copy(
                update={
                    "until": None if group.until is None else 0.0,
                    "schedule": None if group.schedule is None else Constant(),
                }
            )
            for pattern, group in groups.items()
        }
    )
