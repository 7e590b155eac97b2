"""Optimizers and learning-rate schedules as configs that build optax transformations.

A schedule is a curve in multiples of the peak learning rate; steps count from 0, the first update is step 0. Lane
fields may hold traced scalars (`config.bind`): neither the code path nor the structure of the optimizer's state depends
on their values. An update is a function of gradients, parameters and state alone, with no collective in it.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import optax
from jax import lax
from pydantic import Field, model_validator

from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig


class Schedule(StepConfig, union="name"):
    """The learning rate over a training. A schedule of your own defines `curve`.

    `warmup`, in epochs (fractions allowed, at least 0, shorter than the training), rises linearly: with w = the rounded
    number of warm-up steps, step t < w runs at (t + 1) / (w + 1) of the peak, and step w is the first of the curve
    (Goyal et al. 2017, arXiv:1706.02677, section 2.2). Warm-up is part of the training, not added to it.
    """

    warmup: float = Field(default=0.0, ge=0)

    def as_in_a_step(self) -> None:
        self.build(0.1, steps=8, steps_per_epoch=4)(jnp.int32(0))

    def build(self, peak: Any, *, steps: int, steps_per_epoch: int) -> optax.Schedule:
        """The learning rate as a function of the step (a number or an array of them), float32.

        `peak`: learning rate at the top, a number or a traced scalar. `steps`: length of the whole training, warm-up
        included. Raises ConfigError where training has no step or is not longer than the warm-up.
        """
        warmup = self.warmup_steps(steps=steps, steps_per_epoch=steps_per_epoch)
        curve = self.curve(steps=steps, warmup=warmup)
        if warmup:
            rise = optax.linear_schedule(1 / (warmup + 1), 1.0, warmup)
            curve = optax.join_schedules([rise, curve], [warmup])
        return lambda step: jnp.asarray(peak * curve(step), jnp.float32)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        """Multiples of the peak as a function of the steps since warm-up ended; `steps` includes the `warmup` steps."""
        raise ConfigError(f"{type(self).__name__} defines no curve(steps=, warmup=)")

    def warmup_steps(self, *, steps: int, steps_per_epoch: int) -> int:
        """How many steps warm-up takes. Raises ConfigError unless fewer than `steps`."""
        warmup = round(self.warmup * steps_per_epoch)
        if steps < 1:
            raise ConfigError(f"schedule: a training of {steps} steps; it must have at least 1")
        if warmup >= steps:
            raise ConfigError(
                f"schedule.warmup = {self.warmup}: {self.warmup} epochs of {steps_per_epoch} steps are {warmup} steps, "
                f"but the training has {steps}; warm-up must be shorter"
            )
        return warmup


class Constant(Schedule):
    """The peak throughout."""

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return lambda step: jnp.ones_like(step, jnp.float32)


class Step(Schedule):
    """The peak times `factor` (in (0, 1]) once for each of `at` that has passed.

    `at`: ascending fractions of the training in (0, 1), warm-up included, so (1/3, 2/3, 8/9) is 30, 60, 80 of 90
    epochs. A drop takes effect from the rounded step on; one that falls into the warm-up waits for its end.
    """

    at: tuple[float, ...] = Field(default=(0.5, 0.75), min_length=1)
    factor: float = lane(0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(low >= high for low, high in zip((0.0, *self.at), (*self.at, 1.0), strict=True)):
            raise ValueError(f"at = {self.at}: must be ascending fractions of the training between 0 and 1")
        return self

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        drops = [round(at * steps) - warmup for at in self.at]
        # Not optax.piecewise_constant_schedule: it needs the factor's value, and merges drops that round to one step.
        # lax.pow, for jnp.power refuses a whole exponent where dtype promotion is strict.
        return lambda step: lax.pow(
            jnp.asarray(self.factor, jnp.float32), sum((jnp.asarray(step) >= drop).astype(jnp.int32) for drop in drops)
        )


class Cosine(Schedule):
    """Half a cosine from the peak to `final` (a fraction of the peak, in [0, 1]; Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts). `final` would be the rate of the step after the last.
    """

    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return _cosine(steps - warmup, final=self.final)


def _cosine(steps: int, *, final: Any = 0.0) -> optax.Schedule:
    """From 1 to `final` in `steps`, computed in float32."""
    curve = optax.cosine_decay_schedule(1.0, steps, alpha=final)
    return lambda step: curve(jnp.asarray(step, jnp.float32))


class Linear(Schedule):
    """A straight line from the peak to `final` (a fraction of the peak, in [0, 1]) at the step after the last."""

    final: float = lane(0.0, ge=0, le=1)

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        return optax.linear_schedule(1.0, self.final, steps - warmup)


class OneCycle(Schedule):
    """Up from `start` to the peak at `peak_at`, then down to `final` (Smith and Topin 2017, arXiv:1708.07120).

    `peak_at`: fraction of the training in (0, 1). `start`, `final`: fractions of the peak in [0, 1]. `shape`: half
    cosines or straight lines. The rise is the warm-up, so `warmup` must stay 0.
    """

    peak_at: float = Field(default=0.3, gt=0, lt=1)
    start: float = lane(0.04, ge=0, le=1)
    final: float = lane(0.0, ge=0, le=1)
    shape: Literal["cosine", "linear"] = "cosine"

    @model_validator(mode="after")
    def _one_rise(self) -> Self:
        if self.warmup:
            raise ValueError(f"warmup = {self.warmup}: one_cycle has its own rise (see peak_at); leave warmup at 0")
        return self

    def curve(self, *, steps: int, warmup: int) -> optax.Schedule:
        top = min(max(round(self.peak_at * steps), 1), steps)
        up, down = self._fade(top), self._fade(max(steps - top, 1))

        def rise(step: Any) -> Any:
            return 1 + (self.start - 1) * up(step)

        def fall(step: Any) -> Any:
            return self.final + (1 - self.final) * down(step)

        # Not optax.cosine_onecycle_schedule: it multiplies its values up from the first, which then cannot be 0.
        return optax.join_schedules([rise, fall], [top])

    def _fade(self, steps: int) -> optax.Schedule:
        """From 1 to 0 in `steps`."""
        if self.shape == "linear":
            return optax.linear_schedule(1.0, 0.0, steps)
        return _cosine(steps)


class Optim(StepConfig, union="name"):
    """An optimizer with its schedule. One of your own defines `direction`, or `build` for everything.

    `learning_rate`: the schedule's peak, greater than 0. `weight_decay`: at least 0. `decay_skips`: "norm_and_bias"
    leaves out biases and scales, which are known by their names (`is_decayed`), "nothing" decays all. `clip_norm`:
    gradients with a larger global norm are scaled to it before anything else (greater than 0; None does not clip).
    """

    learning_rate: float = lane(gt=0)
    weight_decay: float = lane(0.0, ge=0)
    decay_skips: Literal["nothing", "norm_and_bias"] = "norm_and_bias"
    clip_norm: float | None = lane(None, gt=0)
    schedule: Schedule = Cosine()

    def as_in_a_step(self) -> None:
        optimizer, params = self.build(steps=8, steps_per_epoch=4), {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
        optimizer.update(params, optimizer.init(params), params)

    def build(self, *, steps: int, steps_per_epoch: int) -> optax.GradientTransformation:
        """Clip, `direction`, learning rate, as one optax transformation whose updates are added to the parameters.

        `steps`: length of the whole training. Its `update` needs the parameters. Raises
        ConfigError as the schedule does.
        """
        clip = optax.identity() if self.clip_norm is None else optax.clip_by_global_norm(self.clip_norm)
        rate = self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)
        return optax.chain(clip, self.direction(), optax.scale_by_learning_rate(rate))

    def direction(self) -> optax.GradientTransformation:
        """The step before it is multiplied by minus the learning rate, weight decay included."""
        raise ConfigError(f"{type(self).__name__} defines no direction()")

    def decay(self) -> optax.GradientTransformation:
        """Adds `weight_decay` times the parameters that `decay_skips` leaves in."""
        return optax.add_decayed_weights(self.weight_decay, None if self.decay_skips == "nothing" else is_decayed)

    def learning_rate_at(self, step: Any, *, steps: int, steps_per_epoch: int) -> jax.Array:
        """The learning rate of `step` (from 0; a number or an array), float32, for logs and pictures."""
        return jnp.asarray(self.schedule.build(self.learning_rate, steps=steps, steps_per_epoch=steps_per_epoch)(step))


_WEIGHTS = {"kernel", "embedding"}
_BIASES_AND_SCALES = {"bias", "beta", "offset", "shift", "scale", "gamma", "gain", "g", "slope", "alpha", "temperature"}
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NORMALIZATION = re.compile(r"norm(alization)?[\d_]*$|^(bn|gn|ln)[\d_]*$", re.IGNORECASE)


def is_decayed(params: Any) -> Any:
    """The tree of `params` with whether "norm_and_bias" decays each one.

    A parameter's name decides, for under `nn.scan` and `nn.vmap` a scale has as many dimensions as a matrix. One with
    the word kernel or embedding in its name is decayed. Else one is not if its name has a word for a bias or a scale
    (`bias`, `scale`, `layer_scale`, `gamma`, `negative_slope`, a weight normalization's `g`, ...), or if its module
    is a normalization by name (`LayerNorm_0`, `bn1`). Parameters of other names are decayed from two dimensions on.
    """

    def decays(path: Any, leaf: jax.Array) -> bool:
        keys = [str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey)]
        *modules, name = keys or [""]
        # Flax's WeightNorm names a scale after what it scales: "Dense_0/kernel/scale".
        words = {word.lower() for word in _WORDS.findall(name.rpartition("/")[-1])}
        if words & _WEIGHTS:
            return True
        if words & _BIASES_AND_SCALES or _NORMALIZATION.search("".join(modules[-1:])):
            return False
        return leaf.ndim > 1

    return jax.tree_util.tree_map_with_path(decays, params)


class SGD(Optim, tag="sgd"):
    """Stochastic gradient descent with momentum, as PyTorch's SGD without dampening.

    With g the gradient plus `weight_decay` times the parameters: m = `momentum` m + g, and the step is m, or
    g + `momentum` m with `nesterov` (Sutskever et al. 2013). `momentum` in [0, 1). `decoupled` adds the decay after
    the momentum instead, so a step shrinks a parameter by learning rate x weight decay (SGDW, Loshchilov and Hutter
    2019, arXiv:1711.05101, with the learning rate multiplied in as AdamW does).
    """

    learning_rate: float = lane(0.1, gt=0)
    momentum: float = lane(0.9, ge=0, lt=1)
    nesterov: bool = True
    decoupled: bool = False

    def direction(self) -> optax.GradientTransformation:
        momentum = optax.trace(self.momentum, nesterov=self.nesterov)
        return optax.chain(momentum, self.decay()) if self.decoupled else optax.chain(self.decay(), momentum)


class AdamW(Optim, tag="adamw"):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as PyTorch's AdamW.

    `b1`, `b2` in [0, 1): decay of the first and second moment. `eps` > 0 is added to the root of the second moment. A
    step shrinks a decayed parameter by learning rate x `weight_decay`.
    """

    learning_rate: float = lane(1e-3, gt=0)
    weight_decay: float = lane(1e-2, ge=0)
    b1: float = lane(0.9, ge=0, lt=1)
    b2: float = lane(0.999, ge=0, lt=1)
    eps: float = lane(1e-8, gt=0)

    def direction(self) -> optax.GradientTransformation:
        adam = optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            # Optax raises b1 and b2 to the number of steps by jnp.power, which strict dtype promotion refuses.
            with jax.numpy_dtype_promotion("standard"):
                return adam.update(updates, state, params)

        return optax.chain(optax.GradientTransformation(adam.init, update), self.decay())
