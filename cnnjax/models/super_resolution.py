"""Networks that make a larger image of a small one: enlarge, then convolve (SRCNN), or convolve, then enlarge (ESPCN).

Both see and make pixels in 0..1 (`SuperResolution`), and take 1/2 from them before the first convolution. Where images
are enlarged r times, a convolution costs r^2 times as much in SRCNN as in ESPCN, which is what the second was made for.
Parameters of the published, with one channel: SRCNN 9-1-5 8,032 weights and 97 biases, ESPCN for r = 3 22,624 weights
and 105 biases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.errors import ShapeError
from cnnjax.models.fields import ActivationName, Count
from cnnjax.models.model import Model, roundings


class Enlarging(Model, abstract=True):
    """Convolutions `conv1`, `conv2`, ... and `logits`, with enlarging before or after.

    Attributes:
        factor: by which rows and columns are multiplied.
        features: filters of each convolution before the last.
        kernel_sizes: of every convolution, odd, one more than `features` has; borders are padded with zeros so that the
            size stays.
        activation: after every convolution but the last.
        residual: whether the image, enlarged by bicubic interpolation, is added to what comes out, so that the network
            learns only what that lacks (as Kim et al. 2016, arXiv:1511.04587). The last convolution then begins at
            zero, and the network as the interpolation.
    """

    makes: ClassVar[Literal["logits", "maps", "objects"]] = "maps"

    factor: int = Field(default=4, ge=1)
    features: tuple[Count, ...] = (64, 32)
    kernel_sizes: tuple[Count, ...] = (9, 1, 5)
    activation: ActivationName = "relu"
    residual: bool = False

    @model_validator(mode="after")
    def _a_kernel_each(self) -> Self:
        if len(self.kernel_sizes) != len(self.features) + 1:
            raise ValueError(
                f"kernel_sizes: {len(self.kernel_sizes)} for {len(self.features) + 1} convolutions: those of "
                "`features`, and the last"
            )
        if even := [size for size in self.kernel_sizes if size % 2 == 0]:
            raise ValueError(f"kernel_sizes: {even[0]} is even; take odd ones, of which the middle is a pixel")
        return self

    def rescaled(self, factor: float) -> Iterator[Self]:
        for rounded in roundings(sorted(set(self.features)), factor):
            yield self.model_copy(update={"features": tuple(rounded[width] for width in self.features)})

    def network(self) -> linen.Module:
        return EnlargingNetwork(self, before=isinstance(self, SRCNN))


class SRCNN(Enlarging, tag="srcnn"):
    """Bicubic interpolation, then convolutions (Dong et al. 2014, arXiv:1501.00092, figure 2): the paper's 9-1-5.

    The paper leaves borders out of both training and evaluation; here they are padded.
    """


class ESPCN(Enlarging, tag="espcn"):
    """Convolutions on the small image, of whose pixels the last makes squares of factor x factor: 5-3-3 with tanh (Shi
    et al. 2016, arXiv:1609.05158, section 3.3).
    """

    kernel_sizes: tuple[Count, ...] = (5, 3, 3)
    activation: ActivationName = "tanh"


class EnlargingNetwork(linen.Module):
    """(batch, h, w, channels) -> (batch, h factor, w factor, num_classes). before: whether it enlarges first."""

    config: Any
    before: bool

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        config, r = self.config, self.config.factor
        if config.residual and images.shape[-1] != config.num_classes:
            raise ShapeError(
                f"residual: images of {images.shape[-1]} channels cannot be added to {config.num_classes} outputs"
            )
        interpolated = (
            nn.Resize(r, method="bicubic", name="interpolate")(images) if self.before or config.residual else images
        )
        # Centred, so that the first filters begin on both sides of zero.
        x = (interpolated if self.before else images) - 0.5
        for number, (width, size) in enumerate(zip(config.features, config.kernel_sizes[:-1], strict=True), start=1):
            x = nn.Convolution(width, size, name=f"conv{number}")(x)
            x = nn.activation(config.activation)(x)
        outputs = config.num_classes * (1 if self.before else r**2)
        begin: dict[str, Any] = {"kernel_init": linen.initializers.zeros} if config.residual else {}
        x = nn.Convolution(outputs, config.kernel_sizes[-1], name="logits", **begin)(x)
        x = x if self.before else nn.PixelShuffle(r, name="shuffle")(x)
        return x + interpolated if config.residual else x
