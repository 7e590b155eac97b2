"""Variance scaling: kernels of a variance that keeps that of activations or of gradients from layer to layer."""

from __future__ import annotations

from typing import Literal

import jax

from cnnjax.config import lane
from cnnjax.initialization.distribution import Distribution, draw
from cnnjax.initialization.initialization import Initialization, preset
from cnnjax.initialization.kernel import Kernel


class VarianceScaling(Initialization):
    """Standard deviation gain / sqrt(fan).

    fan: "in", the inputs of an output (`Kernel.fan_in`), keeps the variance of activations going forward; "out", the
    outputs of an input, that of gradients going back; "average" is the mean of both. Of a grouped or depthwise
    convolution both are those of one group. gain (a lane, greater than 0): sqrt(2) for rectifiers, 1 for the linear.
    distribution: "normal", "truncated_normal" or "uniform", all of that standard deviation.
    He et al. 2015 (arXiv:1502.01852); Glorot and Bengio 2010; LeCun et al. 1998, Efficient BackProp.
    """

    fan: Literal["in", "out", "average"] = "in"
    gain: float = lane(1.0, gt=0)
    distribution: Distribution = "normal"

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        fans = {"in": kernel.fan_in, "out": kernel.fan_out, "average": (kernel.fan_in + kernel.fan_out) / 2}
        return draw(self.distribution, key, kernel.layout, self.gain / fans[self.fan] ** 0.5)


RECTIFIER = 2.0**0.5
"""The gain of rectifiers, which halve the mean square (He et al. 2015, section 2.2)."""


@preset
def he_fan_in() -> VarianceScaling:
    """He et al. 2015, equation 10: normal, sqrt(2 / fan-in)."""
    return VarianceScaling(fan="in", gain=RECTIFIER)


@preset
def he_fan_out() -> VarianceScaling:
    """He et al. 2015, equation 14: normal, sqrt(2 / fan-out); torchvision's ResNets, of their convolutions."""
    return VarianceScaling(fan="out", gain=RECTIFIER)


@preset
def he_uniform() -> VarianceScaling:
    """As `he_fan_in`, uniform."""
    return VarianceScaling(fan="in", gain=RECTIFIER, distribution="uniform")


@preset
def glorot_normal() -> VarianceScaling:
    """As `glorot_uniform`, normal."""
    return VarianceScaling(fan="average")


@preset
def glorot_uniform() -> VarianceScaling:
    """Glorot and Bengio 2010, equation 16: uniform up to sqrt(6 / (fan-in + fan-out))."""
    return VarianceScaling(fan="average", distribution="uniform")


@preset
def lecun_normal() -> VarianceScaling:
    """LeCun et al. 1998, equation 16: normal, sqrt(1 / fan-in)."""
    return VarianceScaling(fan="in")


@preset
def lecun_uniform() -> VarianceScaling:
    """As `lecun_normal`, uniform."""
    return VarianceScaling(fan="in", distribution="uniform")
