"""Convolution of feature maps."""

from __future__ import annotations

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
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        y = convolve(x, kernel, strides=strides, padding=padding, dilation=dilation, groups=self.groups)
        if not self.bias:
            return y
        return y + self.param("bias", self.bias_init, (self.features,)).astype(y.dtype).reshape(1, 1, 1, -1)
