"""Kinds of normalization, as a field of any architecture: `norm="batch"`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.config import Config, later, renamed
from cnnjax.models.fields import BatchGroup


class Norm(Config, union="kind"):
    """A kind of normalization: `norm="batch"`, or a config with its fields set.

    epsilon: added to the variance, so that nothing is divided by 0.
    """

    shifts: ClassVar[bool] = True
    """Whether a bias is part of it, so that one before it would have no effect."""

    def module(self, name: str, **fields: Any) -> linen.Module:
        """The Linen module, called with `train`, with more of its `fields` set. A kind of your own defines it."""
        return nn.normalization(self.tag, name=name, **dict(self), **fields)

    def __call__(self, x: jax.Array, *, name: str, train: bool, zero: bool = False) -> jax.Array:
        """Normalize x inside the calling compact module. `zero`: the scale starts at 0 (Goyal et al. 2017, 5.1)."""
        fields = {"scale_init": linen.initializers.zeros} if zero and self.shifts else {}
        return self.module(name, **fields)(x, train=train)


class NoNorm(Norm, tag="none"):
    """No normalization."""

    shifts: ClassVar[bool] = False

    def __call__(self, x: jax.Array, *, name: str, train: bool, zero: bool = False) -> jax.Array:
        return x


class BatchNorm(Norm, tag="batch"):
    """Batch normalization (Ioffe & Szegedy 2015).

    group: whose statistics are shared: the "global" batch, each "device"'s part, or ghost batches of that many
    consecutive examples (Hoffer et al. 2017). momentum: of the running statistics (0..1; 0.9 keeps 90%). scale, bias:
    whether there is a learned scale, and a learned bias. running_variance: the one that is kept for evaluation is
    "biased" (Flax's, the default) or "unbiased" (PyTorch's: for going on with a training of PyTorch's as it would).
    scale_start: what the learned scale starts at: "one", or "uniform", evenly in 0..1 (MosaicML's ResNets).
    """

    group: BatchGroup = "global"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    epsilon: float = Field(default=1e-5, gt=0)
    scale: bool = True
    running_variance: Literal["biased", "unbiased"] = renamed("biased", formerly="running_var")
    scale_start: Literal["one", "uniform"] = later("one")
    bias: bool = later(True)

    @model_validator(mode="after")
    def _a_scale_starts(self) -> Self:
        if self.scale_start != "one" and not self.scale:
            raise ValueError(f"scale_start = {self.scale_start!r}: there is no scale (scale=False)")
        return self

    def module(self, name: str, **fields: Any) -> linen.Module:
        own = {name: value for name, value in self if name != "scale_start"}
        if self.scale_start == "uniform":
            own["scale_init"] = linen.initializers.uniform(1.0)
        return nn.normalization(self.tag, name=name, **{**own, **fields})


class FrozenBatchNorm(Norm, tag="frozen"):
    """Batch normalization by what weights that were trained before have: statistics, scale and bias stay.

    None of them is a parameter. Without such weights it leaves maps as they are.
    """

    epsilon: float = Field(default=1e-5, gt=0)

    def __call__(self, x: jax.Array, *, name: str, train: bool, zero: bool = False) -> jax.Array:
        return self.module(name)(x, train=train)


class GroupNorm(Norm, tag="group"):
    """Group normalization (Wu & He 2018) over `groups` groups of channels."""

    groups: int = Field(default=8, ge=1)
    epsilon: float = Field(default=1e-5, gt=0)


class LayerNorm(Norm, tag="layer"):
    """Layer normalization (Ba et al. 2016): over all "features" of an example, or the "channels" of each place.

    axes: what is normalized together.
    """

    axes: Literal["features", "channels"] = "features"
    epsilon: float = Field(default=1e-5, gt=0)


class LocalResponseNorm(Norm, tag="local_response"):
    """Local response normalization across `size` neighbouring channels (Krizhevsky et al. 2012, 3.3).

    A number a is divided by (k + alpha times the sum of the squares of its neighbours)^beta. alpha, beta and k: as
    there; alpha is not divided by `size`.
    """

    shifts: ClassVar[bool] = False
    size: int = Field(default=5, ge=1)
    alpha: float = Field(default=1e-4, gt=0)
    beta: float = Field(default=0.75, gt=0)
    k: float = Field(default=2.0, gt=0)
