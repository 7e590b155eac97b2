"""Convolutional autoencoders: an image becomes a few numbers, its code, and these become the image again.

With a code that is drawn (`variational`) it is the network of Kingma & Welling 2014 (arXiv:1312.6114, section 3 and
appendix C): the encoder says mean and log-variance of each of the code's numbers, and training draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax import nn
from cnnjax.errors import ShapeError
from cnnjax.models.blocks import ConvNorm
from cnnjax.models.fields import ActivationName, Count, Pair
from cnnjax.models.model import Model, roundings
from cnnjax.models.norm import NoNorm, Norm


class Autoencoder(Model, tag="autoencoder"):
    """Images [B, H, W, C] -> [B, H, W, num_classes], past a code of a few numbers. H and W divide by 2^stages.

    Attributes:
        features: filters of each stage: a convolution in steps of 2 on the way to the code; on the way back, in reverse
            order, maps are doubled by the nearest pixel and convolved.
        code: how many numbers the code has.
        kernel_size: of every convolution.
        norm, activation: after each of them, but the last.
        variational: whether the code is drawn in training, from a normal distribution whose mean and log-variance the
            encoder says; otherwise the code is the mean. The network then returns both beside its maps.
    """

    makes: ClassVar[Literal["logits", "maps", "objects"]] = "maps"
    logits_path: ClassVar[str] = "decoder.logits"

    features: tuple[Count, ...] = (16, 32)
    code: Count = 16
    kernel_size: Pair = 3
    norm: Norm = NoNorm()
    activation: ActivationName = "relu"
    variational: bool = False

    def rescaled(self, factor: float) -> Iterator[Autoencoder]:
        """The filters; the code stays as it is."""
        for rounded in roundings(sorted(set(self.features)), factor):
            yield self.model_copy(update={"features": tuple(rounded[width] for width in self.features)})

    def network(self) -> linen.Module:
        return AutoencoderNetwork(self)

    def logits(self, outputs: Any) -> jax.Array:
        return outputs["logits"] if self.variational else outputs

    def smallest(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last maps before the code. Raises ShapeError where the image does not divide."""
        step = 2 ** len(self.features)
        if height % step or width % step:
            raise ShapeError(
                f"features: {len(self.features)} stages halve the image, and {height}x{width} does not divide by {step}"
            )
        return height // step, width // step


class Encoder(linen.Module):
    """Images [B, H, W, C] -> mean and log-variance of the code, [B, code] each; the second None unless variational."""

    config: Autoencoder

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        config.smallest(x.shape[1], x.shape[2])
        for number, width in enumerate(config.features, start=1):
            conv = ConvNorm(
                width,
                config.kernel_size,
                strides=2,
                norm=config.norm,
                activation=config.activation,
                name=f"conv{number}",
            )
            x = conv(x, train=train)
        x = x.reshape(x.shape[0], -1)
        mean = nn.FullyConnected(config.code, name="mean")(x)
        return mean, nn.FullyConnected(config.code, name="log_variance")(x) if config.variational else None


class Decoder(linen.Module):
    """Codes [B, code] -> [B, *size, num_classes]."""

    config: Autoencoder

    @linen.compact
    def __call__(self, code: jax.Array, *, size: tuple[int, int], train: bool) -> jax.Array:
        config = self.config
        rows, columns = config.smallest(*size)
        widths = config.features[::-1]
        x = nn.FullyConnected(rows * columns * widths[0], name="expand")(code)
        x = nn.activation(config.activation)(x).reshape(code.shape[0], rows, columns, widths[0])
        for number, width in enumerate([*widths[1:], widths[-1]], start=1):
            x = nn.Resize(2, method="nearest", name=f"resize{number}")(x)
            conv = ConvNorm(
                width, config.kernel_size, norm=config.norm, activation=config.activation, name=f"conv{number}"
            )
            x = conv(x, train=train)
        assert config.num_classes is not None
        return nn.Convolution(config.num_classes, config.kernel_size, name="logits")(x)


class AutoencoderNetwork(linen.Module):
    """`encoder` and `decoder`: images -> maps, or with a drawn code {"logits": maps, "mean", "log_variance", "code"}.

    In training the code is mean + exp(log_variance / 2) times a draw from the standard normal distribution, of the
    random stream "code"; otherwise it is the mean.
    """

    config: Autoencoder

    def setup(self) -> None:
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array | dict[str, jax.Array]:
        size = images.shape[1], images.shape[2]
        mean, log_variance = self.encoder(images, train=train)
        if log_variance is None:
            return self.decoder(mean, size=size, train=train)
        code = mean
        if train:
            drawn = jax.random.normal(self.make_rng("code"), mean.shape, mean.dtype)
            code = mean + jnp.exp(log_variance / 2) * drawn
        maps = self.decoder(code, size=size, train=train)
        return {"logits": maps, "mean": mean, "log_variance": log_variance, "code": code}

    def decode(self, code: jax.Array, size: tuple[int, int]) -> jax.Array:
        """The maps [B, *size, num_classes] of codes [B, code]."""
        return self.decoder(code, size=size, train=False)
