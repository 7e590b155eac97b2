"""Optimizers as configs that build optax transformations.

Lane fields may hold traced scalars (`config.bind`): neither the code path nor the structure of the optimizer's state
depends on their values. An update is a function of gradients, parameters and state alone, with no collective in it.
"""

from __future__ import annotations

import re
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
from cnnjax.optim.groups import Group
from cnnjax.optim.schedule import Cosine, Schedule


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
