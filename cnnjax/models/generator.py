"""A generator of images, and it against a discriminator: the networks of DCGAN.

Radford, Metz & Chintala 2016, Unsupervised representation learning with deep convolutional generative adversarial
networks (arXiv:1511.06434), section 3 and figure 1.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
from flax.core.scope import DenyList, Scope

from cnnjax import calling, nn
from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.models.fields import ActivationName, Count, Pair
from cnnjax.models.norm import BatchNorm, Norm


class Generator(Config):
    """Codes [B, code] -> images [B, H, W, C] in -1..1: a dense layer, then transposed convolutions in steps of 2.

    H and W divide by 2^stages, where there is a stage for each of the `features`.

    Attributes:
        code: how many numbers a code has; they are drawn from the standard normal distribution.
        features: of the maps before each transposed convolution, the first those of the dense layer.
        kernel_size: of every transposed convolution.
        norm, activation: after the dense layer and each transposed convolution, but the last, which tanh follows.
    """

    code: Count = 100
    features: tuple[Count, ...] = (64, 32)
    kernel_size: Pair = 4
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"

    def channels(self, height: int, width: int) -> int:
        """How many channels of an image of that size a code takes."""
        return math.ceil(self.code / (height * width))

    def smallest(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the first maps. Raises ConfigError where the image does not divide."""
        step = 2 ** len(self.features)
        if height % step or width % step:
            raise ConfigError(
                f"task.generator.features: {len(self.features)} stages double the maps, and {height}x{width} does not "
                f"divide by {step}"
            )
        return height // step, width // step


class GeneratorNetwork(linen.Module):
    """Codes [B, code] -> images [B, *shape] in -1..1, shape being (H, W, C)."""

    config: Generator

    @linen.compact
    def __call__(self, code: jax.Array, *, shape: tuple[int, int, int], train: bool) -> jax.Array:
        config = self.config
        rows, columns = config.smallest(*shape[:2])
        bias, widths = not config.norm.shifts, config.features
        x = nn.FullyConnected(rows * columns * widths[0], bias=bias, name="expand")(code)
        x = x.reshape(code.shape[0], rows, columns, widths[0])
        for number, width in enumerate(widths[1:], start=1):
            x = self._between(x, f"{number}", train=train)
            x = nn.TransposedConvolution(width, config.kernel_size, strides=2, bias=bias, name=f"conv{number}")(x)
        x = self._between(x, f"{len(widths)}", train=train)
        return jnp.tanh(nn.TransposedConvolution(shape[2], config.kernel_size, strides=2, name="logits")(x))

    def _between(self, x: jax.Array, site: str, *, train: bool) -> jax.Array:
        x = self.config.norm(x, name=f"norm{site}", train=train)
        return nn.activation(self.config.activation)(x)


class AdversarialNetwork(linen.Module):
    """`generator` and `discriminator` on images with codes, [B, H, W, channels + more].

    The channels after the images' are, row by row, the numbers of a code, as many as the generator takes; what is left
    is not looked at. Returned are "made", the images of the codes, [B, H, W, channels], and the discriminator's logits
    [B, 1]: "real" of the images, "fake" of those made, with no gradient to the generator, and "fooled", the same with
    no gradient to the discriminator. Its batch statistics are of the real and of the made images apart, as in the
    paper, and its running ones are updated by both, the real ones first.
    """

    generator: GeneratorNetwork
    discriminator: Any

    def __call__(self, images: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        config, (batch, height, width, whole) = self.generator.config, images.shape
        channels = whole - config.channels(height, width)
        real, code = images[..., :channels], images[..., channels:].reshape(batch, -1)[:, : config.code]
        made = self.generator(code, shape=(height, width, channels), train=train)
        _, mode = calling.in_mode(self.discriminator, train=train)
        told = {
            "made": made,
            "real": self.discriminator(real, **mode),
            "fake": self.discriminator(jax.lax.stop_gradient(made), **mode),
        }
        return told | {"fooled": self._fooled(made, mode) if train else told["fake"]}

    def _fooled(self, made: jax.Array, mode: dict[str, Any]) -> jax.Array:
        """What the discriminator says of images, with no gradient to its parameters; its statistics stay."""
        module, variables = self.discriminator.unbind()
        # Flax writes into the dictionaries that a scope is given, and these would be the discriminator's own.
        copied: dict[str, Any] = jax.tree.map(lambda leaf: leaf, dict(variables))
        still = copied | {"params": jax.lax.stop_gradient(copied["params"])}
        rngs: Any = {name: self.make_rng(name) for name in (self.scope.rngs if self.scope else {}) if name != "params"}
        # At its own path, by which `optim.groups` finds it.
        scope = Scope(still, rngs=rngs, mutable=DenyList("params"), path=self.discriminator.path)
        return module.clone(parent=scope)(made, **mode)

    def generate(self, code: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
        """The images [B, *shape] in -1..1 of codes [B, code]."""
        return self.generator(code, shape=shape, train=False)
