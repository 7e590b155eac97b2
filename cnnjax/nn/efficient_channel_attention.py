"""Efficient channel attention."""

from __future__ import annotations

import math

import flax.linen as nn
import jax

from cnnjax.errors import ConfigError
from cnnjax.nn.accumulation import accumulation_dtype
from cnnjax.nn.activation import activation
from cnnjax.nn.convolution import convolve
from cnnjax.nn.input_checks import check_images, located


class EfficientChannelAttention(nn.Module):
    """Scales each channel by a gate computed from the means of its neighbours (Wang et al. 2020, section 3.2).

    (batch, height, width, channels), same shape. Mean over the image -> convolution along the channels, zeros beyond
    the first and the last -> `gate`. Own parameter `kernel` (size, 1, 1), one for all channels, no bias. Raises
    ConfigError, led by the module's path, for an even kernel.

    Attributes:
        kernel_size: neighbouring channels that are read, an odd number; None takes `adaptive_size` of the channels.
        gate: elementwise function by name (nn.ACTIVATIONS), which should lie in 0..1.
    """

    kernel_size: int | None = None
    gate: str = "sigmoid"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        size = adaptive_size(channels) if self.kernel_size is None else self.kernel_size
        with located(self):
            check_images(x)
            if size < 1 or size % 2 == 0:
                raise ConfigError(f"kernel_size = {size}: must be odd, with the channel itself in the middle")
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (size, 1, 1)).astype(x.dtype)
        means = x.mean((1, 2), dtype=accumulation_dtype(x)).astype(x.dtype)
        sides = (size // 2, size // 2)
        # As an image of one column, a row for each channel.
        y = convolve(means.reshape(-1, channels, 1, 1), kernel[..., None], padding=(sides, (0, 0)))
        return x * activation(self.gate)(y).reshape(-1, 1, 1, channels)


def adaptive_size(channels: int) -> int:
    """How many neighbours are read of so many channels: (log2(channels) + 1) / 2, made odd upwards, at least 3.

    The paper's equation 12 with gamma 2 and b 1, rounded as its authors' code does.
    """
    size = int((math.log2(channels) + 1) / 2)
    return max(3, size if size % 2 else size + 1)
