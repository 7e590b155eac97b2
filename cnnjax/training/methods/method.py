"""What a training method is: something around the step, with a part of the state that is its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp

from cnnjax.lanes import StepConfig
from cnnjax.training.state import TrainState

Gradient = Callable[[Any], tuple[Any, Any, dict[str, jax.Array]]]
"""params -> (gradients, statistics, sums) of the step's batch. gradients: of the mean loss over the whole batch, a tree
like params. statistics: the network's other variables after the pass, by collection. sums: what is reported."""

Measured = Literal["beside", "instead"]
Statistics = Literal["own", "anew"]


class TeacherRun(NamedTuple):
    """The folder of the run whose network teaches, and the name of its weights: a method's, "raw", or None for those
    that the run's results are of."""

    folder: str
    weights: str | None = None


class Method(StepConfig, union="name"):
    """A method around every step of a training. One of your own defines what it needs of the functions below.

    All are pure and are traced in the step: lanes are bound, and hold traced scalars. What `init` returns is the
    method's own state: a tree of arrays, saved in checkpoints and packed as the rest of the state; {} where there is
    nothing to keep. An experiment has at most one method of a kind, since metrics and states have its name.
    """

    @property
    def measured(self) -> Measured:
        """Whether what `evaluated` returns is measured beside the weights that are trained, or instead of them."""
        return "beside"

    @property
    def statistics(self) -> Statistics:
        """The batch statistics of what is evaluated: as `evaluated` returns them, or estimated anew.

        "anew": by passing over training batches with the evaluated weights (`training.estimate`).
        """
        return "own"

    @property
    def moves_weights(self) -> bool:
        """Whether `after` changes the weights that the optimizer left: refused where it makes others of them."""
        return False

    def check(self, *, steps: int, steps_per_epoch: int) -> None:
        """Raise ConfigError where the method does not suit a training of that length."""

    def lasting(self, *, steps: int, steps_per_epoch: int) -> Self:
        """The method as it is in a training of that length, if that changes what it does: a copy that knows it.

        What `init` and `evaluated` return may not depend on the length: a run is read without it.
        """
        return self

    def init(self, params: Any, statistics: Mapping[str, Any]) -> Any:
        """The method's own state before the first step. statistics: the network's other variables, by collection."""
        return {}

    def around(self, gradient: Gradient, own: Any, *, key: jax.Array, step: jax.Array) -> Gradient:
        """A gradient function in the place of `gradient`, which it may call at any parameters, several times.

        Each call passes over the same batch with the same augmentation and dropout, from the statistics before the
        step. own: the method's state. key: of this method in this step. step: its number, counted from 0.
        """
        return gradient

    def teacher_run(self) -> TeacherRun | None:
        """The run whose trained network `losses` is to have the outputs of; None where it needs none."""
        return None

    def losses(self, losses: jax.Array, outputs: jax.Array, *, teacher: jax.Array | None) -> jax.Array:
        """The loss of each example in the place of `losses` [B], of which the gradient is that of the mean.

        outputs: [B, ...], of the network in training. teacher: [B, K], the outputs for the same images of the network
        that `teacher_run` names, in inference; no gradient goes through them.
        """
        return losses

    def after(self, own: Any, before: TrainState, after: TrainState) -> tuple[Any, TrainState]:
        """The method's own state and the whole state once the optimizer has updated the parameters.

        before, after: the states around the step. Shapes and types must stay. `after.methods` is not to be changed.
        """
        return own, after

    def evaluated(self, own: Any, variables: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The variables to evaluate, by collection, shaped as `variables`, which are those of the trained network."""
        return None

    @classmethod
    def evaluates(cls) -> bool:
        """Whether there is anything of this method's to evaluate."""
        return cls.evaluated is not Method.evaluated

    def as_in_a_step(self) -> None:
        params = {"kernel": jnp.ones((2, 2))}
        state = TrainState(jnp.int32(0), params, {}, (), {})
        own = self.init(params, state.statistics)
        gradient = self.around(lambda params: (params, {}, {}), own, key=jax.random.key(0), step=state.step)
        gradient(params)
        logits = jnp.zeros((2, 3))
        self.losses(jnp.zeros(2), logits, teacher=None if self.teacher_run() is None else logits)
        own, state = self.after(own, state, state.replace(step=jnp.int32(1)))
        self.evaluated(own, state.variables)


# --- all methods of a step, by tag, in their order


def begun(methods: Mapping[str, Method], params: Any, statistics: Mapping[str, Any]) -> dict[str, Any]:
    """The own states of the methods that keep any."""
    made = {name: method.init(params, statistics) for name, method in methods.items()}
    return {name: own for name, own in made.items() if jax.tree.leaves(own)}


def wrapped(
    methods: Mapping[str, Method],
    gradient: Gradient,
    owns: Mapping[str, Any],
    *,
    key: Callable[[str], jax.Array],
    step: jax.Array,
) -> Gradient:
    """`gradient` with the methods around it, the first one innermost. key: of each method, by its name."""
    for name, method in methods.items():
        gradient = method.around(gradient, owns.get(name, {}), key=key(name), step=step)
    return gradient


def taught(
    methods: Mapping[str, Method],
    losses: jax.Array,
    outputs: jax.Array,
    *,
    teachers: Mapping[str, Callable[[Any, jax.Array], jax.Array]],
    fixed: Mapping[str, Any],
    images: jax.Array,
) -> jax.Array:
    """The losses once every method has had its say, the first one first.

    teachers: of each method that has one, (arrays that never change, images) -> outputs. fixed: those arrays.
    """
    for name, method in methods.items():
        teacher = teachers[name](fixed[name], images) if name in teachers else None
        losses = method.losses(losses, outputs, teacher=teacher)
    return losses


def acted(methods: Mapping[str, Method], before: TrainState, after: TrainState) -> TrainState:
    """The state once every method has acted after the update, the first one first."""
    for name, method in methods.items():
        own, after = method.after(before.methods.get(name, {}), before, after)
        if jax.tree.leaves(own):
            after = after.replace(methods={**after.methods, name: own})
    return after
