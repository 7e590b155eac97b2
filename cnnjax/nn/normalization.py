"""Normalization layers. Each is called as `norm(x, train=...)`; statistics are float32 for a bfloat16 input too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer

from cnnjax.errors import ConfigError, ShapeError, unknown
from cnnjax.nn.accumulation import widened
from cnnjax.nn.input_checks import check_floating, located
from cnnjax.nn.mesh import manual_axes, shards

Average = Callable[[jax.Array], jax.Array]


class BatchNormalization(nn.Module):
    """Batch normalization over all axes but the last: (batch, ..., channels), same shape (Ioffe and Szegedy 2015).

    In training it uses the batch's mean and biased variance, and moves the running ones towards them:
    running = momentum * running + (1 - momentum) * batch. Both conventions are Flax's: PyTorch's momentum is
    1 - momentum here, and its running variance is the unbiased one, n / (n - 1) times larger, which
    running_variance="unbiased" keeps. At inference it uses the running statistics. Parameters `scale`, `bias`
    (channels); `batch_stats` `mean`, `var` (channels).

    No axis name is needed. Inside `shard_map` or `pmap` the batch is split over all their axes, in order; under `jit`
    over the mesh that `jax.set_mesh` set. The running statistics are averages over groups and devices, so every
    replica keeps the same. Raises ShapeError, led by the module's path, where the batch does not divide into groups, or
    a group has one value a channel and the unbiased variance is asked for.

    Attributes:
        momentum: share of the old running statistics kept at a step, between 0 and 1.
        epsilon: added to the variance.
        group: the examples that share statistics: "global", the batch of all devices; "device", the part of one
            device; or a number of consecutive examples, a ghost batch (Hoffer et al. 2017), within a device's part.
        scale: whether there is a learned scale.
        bias: whether there is a learned bias.
        scale_init: initializer of the scale; zeros makes a residual branch start as nothing (Goyal et al. 2017).
        running_variance: the variance that is remembered, "biased" (the mean square) or "unbiased" (n / (n - 1) times
            that, for the n values a channel has in a group, over all devices in the global batch). Training normalizes
            by the biased one either way.
    """

    layer_op: ClassVar[str] = "batch_norm"
    momentum: float = 0.9
    epsilon: float = 1e-5
    group: Literal["global", "device"] | int = "global"
    scale: bool = True
    bias: bool = True
    scale_init: Initializer = nn.initializers.ones
    running_variance: Literal["biased", "unbiased"] = "biased"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        scale, bias = _affine(self, channels)
        learning = train and not self.is_initializing()
        with located(self):
            check_floating(x)
            groups = self._groups(x.shape[0]) if learning else 1
            correction = self._correction(x.size // (x.shape[-1] * groups)) if learning else 1.0
        # A leading axis of one group would cost XLA:CPU six times as much in the gradient.
        wide = widened(x)
        parts = wide if groups == 1 else wide.reshape(groups, -1, *x.shape[1:])
        if train:
            mean, var = _moments(parts, partial(self._average, over=tuple(range(groups > 1, parts.ndim - 1))))
        else:
            mean, var = _per_channel(running_mean.value, x), _per_channel(running_var.value, x)
        if learning:
            remembered = var if correction == 1 else correction * var
            for running, batch in ((running_mean, mean), (running_var, remembered)):
                running.value = self.momentum * running.value + (1 - self.momentum) * self._settle(batch)
        y = _normalize(parts, mean, var, epsilon=self.epsilon, scale=scale, bias=bias)
        return y.reshape(x.shape).astype(x.dtype)

    def _groups(self, batch: int) -> int:
        """The number of groups in the batch at hand."""
        if self.group == "global":
            return 1
        if isinstance(self.group, str) and self.group != "device":
            raise ConfigError(f"group = {self.group!r}: must be 'global', 'device' or a number of examples")
        if isinstance(self.group, int) and (self.group < 1 or isinstance(self.group, bool)):
            raise ConfigError(f"group = {self.group!r}: must be at least 1 example")
        divisor, what = (shards(), "devices") if self.group == "device" else (self.group, "examples a ghost batch")
        if batch % divisor:
            raise ShapeError(
                f"a batch of {batch} does not divide by {divisor} {what}; {batch} % {divisor} = {batch % divisor}"
            )
        return divisor if self.group == "device" else batch // divisor

    def _correction(self, values: int) -> float:
        """What makes a group's variance the one that is remembered; a channel has so many `values` in it, here."""
        if self.running_variance not in ("biased", "unbiased"):
            raise ConfigError(unknown("running variance", self.running_variance, ("biased", "unbiased")))
        if self.running_variance == "biased":
            return 1.0
        axes = manual_axes()
        n = values * lax.axis_size(axes) if self.group == "global" and axes else values
        if n < 2:
            raise ShapeError(
                "one value a channel has no unbiased variance; give more examples, or running_variance='biased'"
            )
        return n / (n - 1)

    def _average(self, x: jax.Array, *, over: tuple[int, ...]) -> jax.Array:
        mean = x.mean(over, keepdims=True)
        return lax.pmean(mean, manual_axes()) if self.group == "global" and manual_axes() else mean

    def _settle(self, statistic: jax.Array) -> jax.Array:
        """The mean of a statistic over groups and devices, (channels)."""
        mean = statistic.mean(tuple(range(statistic.ndim - 1)))
        return lax.pmean(mean, manual_axes()) if self.group != "global" and manual_axes() else mean


class FrozenBatchNormalization(nn.Module):
    """Batch normalization by statistics, scale and bias that training leaves as they are; same shape.

    All four, (channels), are variables of `batch_stats`: for weights that were trained before, on batches that are too
    small for statistics of their own. torchvision's FrozenBatchNorm2d.

    Attributes:
        epsilon: as in BatchNormalization.
    """

    layer_op: ClassVar[str] = "batch_norm"
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        start = {"mean": jnp.zeros, "var": jnp.ones, "scale": jnp.ones, "bias": jnp.zeros}
        kept = {
            name: _per_channel(self.variable("batch_stats", name, made, x.shape[-1:], jnp.float32).value, x)
            for name, made in start.items()
        }
        with located(self):
            check_floating(x)
        multiplier = kept["scale"] * lax.rsqrt(kept["var"] + self.epsilon)
        return ((widened(x) - kept["mean"]) * multiplier + kept["bias"]).astype(x.dtype)


class GroupNormalization(nn.Module):
    """Group normalization: each example's channels in `groups` consecutive groups, over all positions (Wu and He 2018).

    (batch, ..., channels), same shape; training and inference alike. Parameters `scale`, `bias` (channels). Raises
    ShapeError, led by the module's path, where the channels do not divide into the groups.

    Attributes:
        groups: number of groups; 1 is layer normalization over all features, as many as channels instance
            normalization.
        epsilon, scale, bias, scale_init: as in BatchNormalization.
    """

    layer_op: ClassVar[str] = "group_norm"
    groups: int = 32
    epsilon: float = 1e-5
    scale: bool = True
    bias: bool = True
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        channels = x.shape[-1]
        with located(self):
            check_floating(x)
            if channels % self.groups:
                raise ShapeError(
                    f"{channels} channels do not divide into {self.groups} groups; "
                    f"{channels} % {self.groups} = {channels % self.groups}"
                )
        scale, bias = _affine(self, (channels,))
        wide = widened(x)
        mean, var = _moments(wide, self._average)
        return _normalize(wide, mean, var, epsilon=self.epsilon, scale=scale, bias=bias).astype(x.dtype)

    def _average(self, x: jax.Array) -> jax.Array:
        """(batch, ..., channels) -> (batch, 1, ..., channels), equal within a group."""
        means = x.mean(tuple(range(1, x.ndim - 1)), keepdims=True)
        grouped = means.reshape(*means.shape[:-1], self.groups, -1)
        return jnp.broadcast_to(grouped.mean(-1, keepdims=True), grouped.shape).reshape(means.shape)


class LayerNormalization(nn.Module):
    """Layer normalization of each example (Ba et al. 2016): (batch, ..., channels), same shape.

    Training and inference alike. Parameters `scale`, `bias` (channels) whatever the axes.

    Attributes:
        axes: "channels", over the channels of each position separately, as in ConvNeXt (Liu et al. 2022); or
            "features", over all positions and channels of the example.
        epsilon, scale, bias, scale_init: as in BatchNormalization.
    """

    layer_op: ClassVar[str] = "layer_norm"
    axes: Literal["channels", "features"] = "channels"
    epsilon: float = 1e-5
    scale: bool = True
    bias: bool = True
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        with located(self):
            check_floating(x)
            if self.axes not in ("channels", "features"):
                raise ConfigError(unknown("choice of axes", self.axes, ("channels", "features")))
        scale, bias = _affine(self, x.shape[-1:])
        over = -1 if self.axes == "channels" else tuple(range(1, x.ndim))
        wide = widened(x)
        mean, var = _moments(wide, lambda values: values.mean(over, keepdims=True))
        return _normalize(wide, mean, var, epsilon=self.epsilon, scale=scale, bias=bias).astype(x.dtype)


class LocalResponseNormalization(nn.Module):
    """Local response normalization across neighbouring channels (Krizhevsky et al. 2012, section 3.3).

    x / (k + alpha * sum of the squares of `size` channels around x's own) ** beta, on (..., channels). The window is
    cut at the first and last channel; for an even `size` it reaches one channel further down than up. PyTorch and
    Caffe divide alpha by `size`: their alpha is `size` times this one. No parameters; training and inference alike.

    Attributes:
        size: channels summed over.
        alpha, beta, k: as in the formula; k must be positive.
    """

    layer_op: ClassVar[str] = "local_response_norm"
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        with located(self):
            check_floating(x)
            if self.size < 1 or self.k <= 0:
                raise ConfigError(f"size = {self.size!r}, k = {self.k!r}: both must be positive")
        before, ones = self.size // 2, (1,) * (x.ndim - 1)
        padding = [(0, 0)] * (x.ndim - 1) + [(before, self.size - 1 - before)]
        values = widened(x)
        sums = lax.reduce_window(jnp.square(values), 0.0, lax.add, (*ones, self.size), (1,) * x.ndim, padding)
        return (values * jnp.exp(-self.beta * jnp.log(self.k + self.alpha * sums))).astype(x.dtype)


class NoNormalization(nn.Module):
    """No normalization: x itself."""

    layer_op: ClassVar[str] = "no_norm"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        return x


NORMALIZATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "batch": BatchNormalization,
        "frozen": FrozenBatchNormalization,
        "group": GroupNormalization,
        "layer": LayerNormalization,
        "local_response": LocalResponseNormalization,
        "none": NoNormalization,
    }
)
"""Every kind of normalization."""


def normalization(kind: str, **fields: Any) -> nn.Module:
    """The module of that kind, one of NORMALIZATIONS, with these fields. Raises ConfigError with the near misses."""
    if kind not in NORMALIZATIONS:
        raise ConfigError(unknown("normalization", kind, NORMALIZATIONS))
    return NORMALIZATIONS[kind](**fields)


# --- shared arithmetic, channels last


def _per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """(channels) -> (1, ..., 1, channels), to broadcast against x."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def _affine(module: Any, shape: tuple[int, ...]) -> tuple[jax.Array | None, jax.Array | None]:
    scale = module.param("scale", module.scale_init, shape) if module.scale else None
    bias = module.param("bias", nn.initializers.zeros, shape) if module.bias else None
    return scale, bias


def _moments(x: jax.Array, average: Average) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance, where `average` takes means that broadcast against x.

    Two passes, so a mean large against the spread loses no digits. Centring at a constant that equals the mean gives
    the same derivatives of every order as centring at the mean, but a gradient with two reductions instead of four.
    """
    mean = average(x)
    centre = lax.stop_gradient(mean)
    return mean, average(jnp.square(x - centre)) - jnp.square(mean - centre)


def _normalize(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    *,
    epsilon: float,
    scale: jax.Array | None,
    bias: jax.Array | None,
) -> jax.Array:
    centre = lax.stop_gradient(mean)
    multiplier = lax.rsqrt(var + epsilon)
    if scale is not None:
        multiplier = multiplier * _per_channel(scale, x)
    shift = (centre - mean) * multiplier
    if bias is not None:
        shift = shift + _per_channel(bias, x)
    return (x - centre) * multiplier + shift
