"""Convolution of feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.nn.initializers import Initializer

from cnnjax.arithmetic import Extent, Padding, Pairs, check_groups, output_shape, per_axis, resolve_padding
from cnnjax.errors import ConfigError
from cnnjax.lowering import lowering
from cnnjax.nn.geometry import Geometry
from cnnjax.nn.input_checks import check_images, located
from cnnjax.nn.trilinear import bind, by_xla
from cnnjax.nn.weight_standardization import standardized


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Pairs = ((0, 0), (0, 0)),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> jax.Array:
    """Cross-correlation (the kernel is not flipped) of NHWC maps with an HWIO kernel of the same dtype.

    The kernel is (height, width, channels / groups, features); features and channels are split into `groups` in order.
    The one place where a convolution is lowered: how, on a CPU, is chosen by shapes (cnnjax.nn.lowering_rules).
    """
    fields: Any = (x.shape[1:3], kernel.shape[:2], *map(tuple, (strides, padding, dilation)), groups)
    geometry = Geometry(*fields)
    if lowering.value == "xla":
        return by_xla("output", x, kernel, geometry)
    return bind(x, kernel, wanted="output", geometry=geometry, lowering=lowering.value)


class Convolution(nn.Module):
    """2-D convolution: (batch, height, width, channels) -> (batch, height', width', features).

    Computes in the dtype of its input, from float32 parameters `kernel` (height, width, channels / groups, features)
    and `bias` (features). Raises ShapeError, led by the module's path, where the kernel does not fit the input or the
    channels do not divide into the groups, and ConfigError for a bad field. Sizes are those of cnnjax.arithmetic.

    Attributes:
        features: output channels.
        kernel_size: rows and columns of the kernel, or one number for both.
        strides: steps between windows, likewise.
        padding: "same", "valid", "full", a count, or a count or (before, after) pair an axis; zeros are padded.
        dilation: distance between kernel positions, likewise; 1 is a dense kernel (Yu and Koltun 2016).
        groups: independent parts the channels are split into; as many as channels is a depthwise convolution.
        bias: whether a bias is added; a normalization that follows makes it useless.
        kernel_init: initializer of the kernel; the default is He et al. 2015, for rectifiers (standard deviation
            sqrt(2 / fan-in), truncated at two).
        bias_init: initializer of the bias.
        standardize: what is added to the variance where each feature's weights are standardized before they are used
            (nn.standardized), above 0; None uses them as they are.
        gain: whether the standardized weights are divided by sqrt(fan-in) and multiplied by a learned parameter `gain`
            (features), so that outputs have the variance of the inputs (Brock et al. 2021, arXiv:2101.08692).
        gain_init: initializer of the gain.
    """

    features: int
    kernel_size: Extent
    strides: Extent = 1
    padding: Padding = "same"
    dilation: Extent = 1
    groups: int = 1
    bias: bool = True
    kernel_init: Initializer = nn.initializers.he_normal()
    bias_init: Initializer = nn.initializers.zeros
    standardize: float | None = None
    gain: bool = False
    gain_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_images(x)
            if self.features < 1:
                raise ConfigError(f"features = {self.features}: a convolution has at least 1")
            check_groups(x.shape[-1], features=self.features, groups=self.groups)
            size = per_axis(self.kernel_size)
            strides, dilation = per_axis(self.strides, name="strides"), per_axis(self.dilation, name="dilation")
            output_shape(x.shape[1:3], kernel=size, strides=strides, padding=self.padding, dilation=dilation)
            padding = resolve_padding(self.padding, x.shape[1:3], kernel=size, strides=strides, dilation=dilation)
        shape = (*size, x.shape[-1] // self.groups, self.features)
        kernel = self._weights(self.param("kernel", self.kernel_init, shape)).astype(x.dtype)
        y = convolve(x, kernel, strides=strides, padding=padding, dilation=dilation, groups=self.groups)
        if not self.bias:
            return y
        return y + self.param("bias", self.bias_init, (self.features,)).astype(y.dtype).reshape(1, 1, 1, -1)

    def _weights(self, kernel: jax.Array) -> jax.Array:
        """The weights that are used, standardized if they shall be."""
        with located(self):
            if self.standardize is None and self.gain:
                raise ConfigError("gain = True: it is of standardized weights; set standardize, such as 1e-5")
            if self.standardize is not None and self.standardize <= 0:
                raise ConfigError(f"standardize = {self.standardize!r}: what is added to a variance is above 0")
        if self.standardize is None:
            return kernel
        kernel = standardized(kernel, epsilon=self.standardize)
        if not self.gain:
            return kernel
        fan_in = math.prod(kernel.shape[:-1])
        gain = self.param("gain", self.gain_init, (self.features,)) * fan_in**-0.5
        return kernel * gain.reshape(1, 1, 1, -1)
