"""Transposed convolution of feature maps: from a small map to a large one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer

from cnnjax.arithmetic import (
    Extent,
    Padding,
    Pairs,
    check_groups,
    per_axis,
    transposed_padding,
    transposed_shape,
)
from cnnjax.errors import ConfigError
from cnnjax.lowering import lowering
from cnnjax.nn.geometry import Geometry
from cnnjax.nn.input_checks import check_images, located
from cnnjax.nn.matrix_products import transposed_kernel
from cnnjax.nn.trilinear import bind, by_xla


def convolve_transposed(
    x: jax.Array,
    kernel: jax.Array,
    *,
    size: Sequence[int],
    strides: Sequence[int] = (1, 1),
    padding: Pairs = ((0, 0), (0, 0)),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> jax.Array:
    """The adjoint of a convolution that leads from maps of `size` (height, width) to maps of x's size.

    Each input position adds its multiple of the kernel (not flipped) to the output, in steps of `strides`. x is NHWC,
    the kernel (height, width, channels / groups, features), of the same dtype; `padding` is that of the convolution.
    Computed as the gradient of that convolution for its input is (docs/convolution.md).
    """
    fields: Any = (tuple(size), kernel.shape[:2], *map(tuple, (strides, padding, dilation)), groups)
    geometry = Geometry(*fields)
    kernel = transposed_kernel(kernel, groups)
    if lowering.value == "xla":
        return by_xla("input", x, kernel, geometry)
    return bind(x, kernel, wanted="input", geometry=geometry, lowering=lowering.value)


class TransposedConvolution(nn.Module):
    """2-D transposed convolution: (batch, height, width, channels) -> (batch, height', width', features).

    The adjoint of the convolution with these fields: <convolution(y), x> = <y, transposed convolution(x)> for the same
    kernel. Each input position adds its multiple of the kernel to the output, in steps of `strides`; along an axis
    there are (n - 1) s + e - before - after + output padding outputs, e = d (f - 1) + 1
    (cnnjax.arithmetic.transposed_shape). Dumoulin and Visin 2016, A guide to convolution arithmetic, chapter 4.

    Computes in the dtype of its input, from float32 parameters `kernel` (height, width, channels / groups, features)
    and `bias` (features). The kernel is not flipped: PyTorch's ConvTranspose2d weight (channels, features / groups,
    height, width) is `kernel.transpose(2, 3, 0, 1)`; with groups, those of each group one after the other. Flax's
    `nn.ConvTranspose` has it flipped in height and width. Raises ShapeError, led by the module's path, where nothing is
    left of the output or the channels do not divide into the groups, and ConfigError for a bad field.

    Attributes:
        features: output channels.
        kernel_size: rows and columns of the kernel, or one number for both.
        strides: steps of the output between the kernels of neighbouring inputs, likewise.
        padding: what is cut of the output: "valid" nothing, "same" what exceeds stride x input, "full" all that not
            every position of a kernel reaches; a count, or a count or (before, after) pair an axis (PyTorch's padding).
        output_padding: rows and columns that are left at the end besides, or one number for both; smaller than the
            stride or the dilation. For what size, of those that a strided convolution takes to the same one.
        dilation: distance between kernel positions, likewise.
        groups: independent parts the channels are split into.
        bias: whether a bias is added.
        kernel_init: initializer of the kernel; None is He et al. 2015, for rectifiers, by the inputs that an output
            meets: variance 2 strides / (kernel positions x channels / groups). `bilinear_kernel` enlarges maps.
        bias_init: initializer of the bias.
    """

    transposed: ClassVar[bool] = True
    features: int
    kernel_size: Extent
    strides: Extent = 1
    padding: Padding = "same"
    output_padding: Extent = 0
    dilation: Extent = 1
    groups: int = 1
    bias: bool = True
    kernel_init: Initializer | None = None
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_images(x)
            if self.features < 1:
                raise ConfigError(f"features = {self.features}: a transposed convolution has at least 1")
            check_groups(x.shape[-1], features=self.features, groups=self.groups)
            kernel_size = per_axis(self.kernel_size)
            strides, dilation = per_axis(self.strides, name="strides"), per_axis(self.dilation, name="dilation")
            fields: Any = {"kernel": kernel_size, "strides": strides, "padding": self.padding, "dilation": dilation}
            fields["output_padding"] = self.output_padding
            size = transposed_shape(x.shape[1:3], **fields)
            padding = transposed_padding(x.shape[1:3], **fields)
        init = self.kernel_init or he_transposed(strides)
        shape = (*kernel_size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", init, shape).astype(x.dtype)
        y = convolve_transposed(
            x, kernel, size=size, strides=strides, padding=padding, dilation=dilation, groups=self.groups
        )
        if not self.bias:
            return y
        return y + self.param("bias", self.bias_init, (self.features,)).astype(y.dtype).reshape(1, 1, 1, -1)


def he_transposed(strides: Sequence[int]) -> Initializer:
    """He et al. 2015 for a transposed convolution, an output of which meets one in `strides` kernel positions."""
    return nn.initializers.variance_scaling(2.0 * prod(strides), "fan_in", "truncated_normal")


def bilinear_kernel(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Initializer with which a transposed convolution enlarges maps by bilinear interpolation, each channel by itself.

    For a stride of s the kernel has 2 s - s % 2 positions. Of the shape (height, width, channels / groups, features)
    feature j is made of its group's channel j mod (channels / groups); ConfigError where features are no multiple of
    those. `key` is not used. Long, Shelhamer and Darrell 2015, Fully convolutional networks, section 4.
    """
    height, width, channels, features = shape
    if features % channels:
        raise ConfigError(f"bilinear_kernel enlarges channels: {features} features are no multiple of {channels}")
    weights = np.outer(_triangle(height), _triangle(width))
    same = np.arange(channels)[:, None] == np.arange(features) % channels
    return jnp.asarray(weights[:, :, None, None] * same, dtype)


def _triangle(size: int) -> np.ndarray:
    """Weights of linear interpolation, falling from the middle to both sides."""
    reach = (size + 1) // 2
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / reach
